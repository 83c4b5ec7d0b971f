"""What the visitor of a session can do: the policy of this server, which is read once and is stricter behind a proxy."""

import logging
import os
from dataclasses import replace

import streamlit as st
from streamlit import config

from headprune_core.cli.hosting import ALLOW_LOCAL_PATHS, WARNED, Hosting, server_policy

FORWARDED = ("Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-Ip")  # headers that only a proxy sends


def hosting() -> Hosting:
    """Return the policy for this session; a visitor who comes through a proxy need not sit at the server's own computer.

    Raises:
        HeadPruneError: If the settings file of demo mode cannot be used.
    """
    policy = _server_policy()
    if policy.demo or not any(st.context.headers.get(name) for name in FORWARDED):
        return policy
    return replace(policy, exposed=True, local_paths=os.environ.get(ALLOW_LOCAL_PATHS) == "1")


@st.cache_resource(show_spinner=False)
def _server_policy() -> Hosting:
    policy = server_policy(config.get_option("server.address"), config.get_option("server.allowedHosts"), os.environ)
    if policy.upload_mb is not None:
        config.set_option("server.maxUploadSize", policy.upload_mb, "demo settings")
    if policy.exposed and not policy.demo and WARNED not in os.environ:
        logging.getLogger("headprune").warning("warning: %s %s", policy.notice, policy.advice)
    return policy
