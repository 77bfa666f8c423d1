"""Where backups go: an S3 bucket's prefix, or a folder; three kinds of write, each whole or not at all.

Endpoint, region and credentials come from the environment alone (AWS_ENDPOINT_URL, AWS_REGION, AWS_ACCESS_KEY_ID,
AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN), as every S3 client reads them. No message repeats a server's answer: it may hold what
was signed.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from crossattn_core.errors import BackupError
from crossattn_core.storage import locked

if TYPE_CHECKING:
    from obstore.store import ObjectStore

__all__ = ["Destination", "open_destination"]

_ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
_ALLOW_HTTP = "AWS_ALLOW_HTTP"
_FILE = re.compile(r"file:(//(localhost)?)?/")
_BUCKET = re.compile(r"s3://[A-Za-z0-9][A-Za-z0-9._-]*(/[^@?#]*)?")
_DENIED = ("AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken")


class Destination:
    """Objects under one prefix, by key ('objects/...'). Calls may come from several threads."""

    def __init__(self, store: "ObjectStore", name: str, folder: Path | None) -> None:
        """``name`` stands in messages; ``folder``: the local folder behind it, if it is one."""
        self.name = name
        self._store = store
        self._folder = folder

    def sizes(self, prefix: str) -> dict[str, int]:
        """Key -> bytes of every object whose key starts with the folder ``prefix``."""
        import obstore

        with self._explained():
            return {entry["path"]: entry["size"] for part in obstore.list(self._store, prefix, chunk_size=1000) for entry in part}

    def read(self, key: str) -> bytes | None:
        """The object; none where there is no such one."""
        found = self.read_version(key)
        return None if found is None else found[0]

    def read_version(self, key: str) -> tuple[bytes, Any] | None:
        """The object, and what names its version to ``swap``."""
        import obstore

        with self._explained():
            try:
                found = obstore.get(self._store, key)
                version = {name: found.meta[name] for name in ("e_tag", "version") if found.meta[name] is not None}
                return bytes(found.bytes()), version
            except FileNotFoundError as error:
                if "NoSuchBucket" in str(error):
                    raise
                return None

    def create(self, key: str, content: bytes) -> bool:
        """Write an object that is not there yet; False, and nothing written, where it is."""
        import obstore
        from obstore.exceptions import AlreadyExistsError

        with self._explained():
            try:
                obstore.put(self._store, key, content, mode="create")
            except AlreadyExistsError:
                return False
        return True

    def swap(self, key: str, content: bytes, seen: Any) -> bool:
        """Write the object if it is still the version ``seen`` (none: absent); False, and nothing written, where it is not."""
        if self._folder is not None:
            with locked(self._folder / f"{key}.lock"):
                now = self.read_version(key)
                if (None if now is None else now[1]) != seen:
                    return False
                self.replace(key, content)
                return True
        if seen is None:
            written = self.create(key, content)
        else:
            import obstore
            from obstore.exceptions import PreconditionError

            with self._explained():
                try:
                    obstore.put(self._store, key, content, mode=seen)
                    written = True
                except PreconditionError:
                    written = False
        # A write whose answer was lost is sent again, and then refused since it is there.
        return written or self.read(key) == content

    def replace(self, key: str, content: bytes) -> None:
        """Write an object, over whatever is there."""
        import obstore

        with self._explained():
            obstore.put(self._store, key, content, use_multipart=False)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        from obstore.exceptions import BaseError

        try:
            yield
        except (BaseError, OSError, ValueError) as error:
            raise BackupError(f"{self.name}: {_why(error, is_local=self._folder is not None)}") from None


def open_destination(url: str, environment: Mapping[str, str], *, make: bool = False) -> Destination:
    """The place that ``url`` names: ``s3://bucket/prefix``, ``file:///folder`` or a folder.

    Args:
        environment: where an endpoint over plain http is looked for: refused unless on this machine, or AWS_ALLOW_HTTP is true.
        make: make the folder where it is missing.

    Raises:
        BackupError: obstore is not installed, or no such place can be used; the message holds no credentials.
    """
    try:
        from obstore.exceptions import BaseError
        from obstore.store import LocalStore, S3Store
    except ImportError as error:
        raise BackupError("backups are sent with obstore, which is not installed: install crossattn[s3]") from error
    if _names_folder(url):
        folder = Path(_FILE.sub("/", url)).expanduser().resolve()
        if not make and not folder.is_dir():
            raise BackupError(f"{folder}: there is no such folder")
        try:
            return Destination(LocalStore(folder, mkdir=make), str(folder), folder)
        except (BaseError, OSError) as error:
            raise BackupError(f"{folder}: {_why(error, is_local=True)}") from None
    http = [environment[name] for name in _ENDPOINTS if environment.get(name, "").lower().startswith("http:")]
    if any(not _is_loopback(endpoint) for endpoint in http) and environment.get(_ALLOW_HTTP, "").lower() not in ("1", "true"):
        raise BackupError(
            f"{url}: the endpoint is plain http and not on this machine, so that anyone between could read the data; use https, "
            f"or set {_ALLOW_HTTP}=true where the network is trusted"
        )
    try:
        store = S3Store.from_url(
            url,
            client_options={"allow_http": bool(http), "timeout": timedelta(minutes=5)},
            retry_config={"max_retries": 4, "retry_timeout": timedelta(seconds=60)},
        )
    except (BaseError, ValueError) as error:
        raise BackupError(f"{url}: {_why(error, is_local=False)}; check the AWS_* variables") from None
    return Destination(store, url.rstrip("/"), None)


def _names_folder(url: str) -> bool:
    """Whether an address names a folder; if not, a bucket. What is neither may hold a secret anywhere, and is not repeated."""
    if not url.strip():
        raise BackupError("no place for backups; name s3://bucket/prefix, file:///folder or a folder")
    if (host := urlsplit(url).netloc if url.lower().startswith("file:") else "") and host != "localhost":
        raise BackupError("a file: address names no other machine; write file:///folder, or the folder alone")
    if _FILE.match(url) or url.startswith(("/", ".", "~")):
        return True
    if _BUCKET.fullmatch(url):
        return False
    if "@" in url or "?" in url:
        raise BackupError("the address of a backup holds no credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY instead")
    if ":" in url:
        raise BackupError("no place for backups; name s3://bucket/prefix, file:///folder or a folder")
    return True


def _is_loopback(endpoint: str) -> bool:
    host = urlsplit(endpoint).hostname or ""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _why(error: Exception, *, is_local: bool) -> str:
    """What went wrong and what to do, in words of our own."""
    text = str(error)
    if is_local:
        return text.partition("\n")[0]
    code = found.group(1) if (found := re.search(r"<Code>(\w+)</Code>", text)) else ""
    status = found.group(1) if (found := re.search(r"status code: (\d{3})", text)) else ""
    if code == "NoSuchBucket":
        return "there is no such bucket; make it, or name another"
    if code in _DENIED or status in ("401", "403") or type(error).__name__ in ("PermissionDeniedError", "UnauthenticatedError"):
        return (
            f"access is denied{f' ({code})' if code else ''}; check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and "
            "AWS_SESSION_TOKEN, and what that user may do there"
        )
    if code or status:
        return f"the server refused ({code or status}); check AWS_ENDPOINT_URL and AWS_REGION, and run the same command again"
    if "169.254.169.254" in text:
        return "no credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
    if "error sending request" in text or "timed out" in text:
        return "the server does not answer; check AWS_ENDPOINT_URL, AWS_REGION and the network, and run the same command again"
    return f"{type(error).__name__}; check the AWS_* variables, and run the same command again"
