"""The fast path on a CPU: models as ONNX graphs. Needs libraries that the rest of `decoding/` does without."""

import os

# ONNX Runtime tells Microsoft of its sessions, and keeps an identifier of this machine, unless it reads this when it is
# imported (from 1.29 on; on Windows see `executor`).
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
