"""Download a Space and print its files, path to content, as JSON.

python download_space.py ORG/NAME
"""

import json
import sys
from pathlib import Path

from huggingface_hub import snapshot_download

folder = Path(snapshot_download(sys.argv[1], repo_type="space"))
files = [path for path in folder.rglob("*") if path.is_file()]
print(json.dumps({path.relative_to(folder).as_posix(): path.read_text() for path in files}))
