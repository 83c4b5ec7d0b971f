"""Exit with 0 if the app in this container answers, else with 1."""

import os
import sys
import urllib.request

path = "/".join(part for part in (os.environ.get("HEADPRUNE_BASE_PATH", "").strip("/"), "_stcore/health") if part)
try:
    with urllib.request.urlopen(f"http://127.0.0.1:{os.environ.get('PORT', '8501')}/{path}", timeout=4) as answer:
        sys.exit(answer.status != 200)
except OSError:
    sys.exit(1)
