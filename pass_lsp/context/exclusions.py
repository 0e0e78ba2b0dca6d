"""Documents that never enter a prompt: secrets, binaries, and texts too large to be worth reading."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from urllib.parse import unquote, urlsplit

from pass_lsp.documents.document import Document
from pass_lsp.reasons import Reason

MAX_CHARACTERS = 2_000_000
MAX_LINE = 5_000
_NEAR = 20
"""Lines on each side of the cursor that are looked at for minified code."""

_SECRET_NAMES = (
    ".env*", "*.env", ".netrc", "_netrc", ".pgpass", ".npmrc", ".pypirc", ".htpasswd", ".git-credentials",
    ".dockercfg", ".my.cnf", ".s3cfg", ".vault_pass*", "credentials", "credentials.*", "client_secret*.json",
    "secret", "secrets", "secret.*", "secrets.*", "service-account*.json", "id_rsa*", "id_dsa*", "id_ecdsa*",
    "id_ed25519*", "*.pem", "*.key", "*.p12", "*.pfx", "*.p8", "*.jks", "*.keystore", "*.kdbx", "*.ppk", "*.gpg",
    "*.asc", "*.tfvars", "*.tfvars.json", "*.tfstate", "*.tfstate.*", "*.ovpn", "*.crt", "*.cer", "*.der",
    ".secret", ".secrets", ".secrets.*", ".vault-token", "local.settings.json", ".dev.vars", "*credentials.json",
    "*firebase-adminsdk*.json", "service_account*.json", "serviceaccount*.json", "gha-creds-*.json", "token.json",
    "*.secret", "*-secret.*", "*-secrets.*", "password.txt", "passwords.txt", "key.properties", "keystore.properties",
    "kubeconfig", "*.kubeconfig", "pgpass.conf", "rclone.conf", "terraform.rc", ".terraformrc", ".boto",
    ".databrickscfg", ".renviron", ".authinfo", "*.keytab", ".*_history",
)  # fmt: skip
_COPY = re.compile(r"(?:~|\.(?:bak|old|orig|swp))+$")
"""What editors and careful people put behind the name of a file that they keep a copy of."""
_PRIVATE_KEY = re.compile(
    r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----"
    # The key may be in one string or several, its line ends escaped or not, behind lines such as `Proc-Type: ...`.
    # They end where the next mark begins, lest all that follow are read anew behind each of many.
    r"(?:\\++[nrt]?+|\s++|[\"'`+&,.;:()\[\]|#*/_-]"
    r"|[A-Z][A-Za-z-]{1,20}: (?:(?!-----BEGIN )[^\r\n\\\"']){0,100}+){0,200}+"
    r"[A-Za-z0-9][A-Za-z0-9+/]{39}"
)
_SECRET_FOLDERS = frozenset((".ssh", ".gnupg", ".aws", ".azure", ".kube", ".docker", ".git"))
# Source code about secrets (such as the standard library's own secrets.py) holds none.
_CODE = re.compile(r"\.(py|pyi|js|jsx|mjs|ts|tsx|go|rs|java|kt|c|cc|cpp|h|hpp|cs|rb|php|lua|swift|scala|md|rst)$")


def path_of(document: Document) -> str:
    """The path of a document with forward slashes, taken from its URI when it names none."""
    path = document.path
    if not path and document.uri:
        try:
            path = unquote(urlsplit(document.uri).path)
        except ValueError:
            path = document.uri
    return path.replace("\\", "/")


def is_secret(path: str) -> bool:
    """Whether the name of a file, or of a folder that it lies in, says that it holds secrets."""
    *folders, name = [part.lower() for part in path.split("/")] or [""]
    if not _SECRET_FOLDERS.isdisjoint(folders):
        return True
    name = _COPY.sub("", name)
    code = _CODE.search(name) and not name.startswith(".env")
    return not code and any(fnmatchcase(name, pattern) for pattern in _SECRET_NAMES)


def refusal(document: Document, line: int | None) -> Reason | None:
    """Why nothing of this document may be shown to a model, or around `line` only; None if it may."""
    if is_secret(path_of(document)):
        return Reason.EXCLUDED
    if len(document.text) > MAX_CHARACTERS:
        return Reason.TOO_LARGE
    if _binary(document.text):
        return Reason.BINARY
    if "PRIVATE KEY" in document.text and _PRIVATE_KEY.search(document.text):
        return Reason.EXCLUDED
    first, last = (0, document.line_count) if line is None else (line - _NEAR, line + _NEAR + 1)
    near = range(max(first, 0), min(last, document.line_count))
    if any(document.line_end(number) - document.line_start(number) > MAX_LINE for number in near):
        return Reason.MINIFIED
    return None


def _binary(text: str) -> bool:
    # Decoders put U+FFFD where bytes are no text; a tenth of a sample is more than any source file has.
    sample = text[:4096]
    return "\0" in text or sample.count("\ufffd") * 10 > max(len(sample), 100)
