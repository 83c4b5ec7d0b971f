"""Look for known vulnerabilities of the pinned packages with pip-audit; skip with a message where no database is reached.

python .ci/audit.py
"""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FILES = ("requirements.txt", "requirements-onnx.txt", "requirements-llm.txt")
DATABASES = ("pypi", "osv")


def main() -> int:
    """Ask the first database that answers; 1 if a package has a known vulnerability, else 0."""
    for database in DATABASES:
        packages = asked(database)
        audited = [package for package in packages if "skip_reason" not in package]
        if audited:
            return report(database, audited, len(packages))
    print(f"pip-audit: skipped, because no advisory database can be reached ({', '.join(DATABASES)})")
    return 0


def asked(database: str) -> list[dict]:
    """The pinned packages, each with its vulnerabilities or the reason why it was skipped; none if nothing answers.

    An index without advisories answers "not found" for every package, which pip-audit takes for success.
    """
    files = [part for name in FILES for part in ("-r", str(ROOT / name))]
    options = ["--no-deps", "--disable-pip", "--progress-spinner", "off", "--format", "json", "--timeout", "20"]
    command = [sys.executable, "-m", "pip_audit", "--vulnerability-service", database, *options, *files]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        return json.loads(done.stdout)["dependencies"]
    except (subprocess.TimeoutExpired, ValueError):
        return []


def report(database: str, audited: list[dict], n_packages: int) -> int:
    """Print what was found."""
    found = [(package, one) for package in audited for one in package["vulns"]]
    for package, one in found:
        fixed = ", ".join(one["fix_versions"]) or "no version yet"
        print(f"{package['name']} {package['version']}: {one['id']}, fixed in {fixed}")
    print(f"pip-audit ({database}): {len(found)} known vulnerabilities in {len(audited)} of {n_packages} packages")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
