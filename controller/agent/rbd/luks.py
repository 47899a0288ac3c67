"""Makes an image a LUKS2 volume at its first use, and finds the passphrase by which it is opened at each.

One form serves all: cryptsetup makes the header, librbd opens it in userspace, and dm-crypt on the kernel's device.
How far an image has come is in its metadata, which is written before what it speaks of: an image that is noted to be
`PREPARED` has no data, whatever was cut off; one that is `ENCRYPTED` is never formatted again.

These functions block: they run in `controller.agent.rbd.unlock`, a process of their own.
"""

from __future__ import annotations

import errno
import os
import subprocess
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from controller.agent.rbd import keys
from controller.agent.system.filesystem import places_looked_at
from controller.apis.rook.encryption import DEK, DEK_OF, ENCRYPTED, METADATA, PREPARED, STATE, header_bytes, told_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MAGIC = b"LUKS\xba\xbe"
_MIB = 1 << 20
_SECTOR = 512
_FORMAT_DEADLINE = 60.0

LOCK = "rook.io/luks"
_LOCK_SECONDS = 120
"""How long an image stays locked for a node that dies while it formats: longer than such a process may run."""


class LuksError(Exception):
    """An image cannot be opened as an encrypted one; the message says what was found and what would be right."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """What is to be opened.

    Attributes:
        image: The image's name.
        handle: The volume's CSI handle.
        passphrase: That of the volume's Secret.
        kms: The type of its KMS: `DEFAULT` or `METADATA`.
        read_only: Change nothing.
    """

    image: str
    handle: str
    passphrase: str
    kms: str
    read_only: bool = False


@dataclass(frozen=True, slots=True)
class _Found:
    """What an image tells of itself."""

    state: str
    dek: str
    dek_of: str
    is_luks: bool

    @property
    def is_used(self) -> bool:
        """Whether it may have data: so it is also where somebody else has made it, and noted nothing."""
        return self.state == ENCRYPTED or (not self.state and self.is_luks)


def unlock(rbd: Any, ioctx: Any, opening: Opening, header: Callable[[str, int], bytes]) -> str:
    """The passphrase that opens an image, which is formatted first if nobody has used it yet.

    Args:
        rbd: librbd's Python module.
        ioctx: An I/O context of the image's pool and namespace.
        opening: What is to be opened.
        header: Makes a LUKS2 header of a passphrase and of its bytes: `make_header`.

    Raises:
        LuksError: It cannot be opened, or must not be formatted.
    """
    with rbd.Image(ioctx, opening.image, read_only=True) as image:
        found = _look(image)
        image_id = image.id()
    if found.is_used:
        key = _key(found, opening)
        if not found.is_luks:
            raise LuksError(
                f"image {opening.image} is noted to be encrypted ({STATE}), but does not begin with a LUKS header: "
                "expected one; nothing was changed"
            )
        if opening.read_only or opening.kms != METADATA or found.dek_of == opening.handle:
            return key
    elif opening.read_only:
        raise LuksError(f"image {opening.image} was never written to: expected a first use that may write")
    with _alone(ioctx, image_id, opening.image):
        # What was seen before may be what another node was just about to change.
        with rbd.Image(ioctx, opening.image) as image:
            found = _look(image)
            key = _own_key(image, found, opening)
            if found.is_used:
                return key
            _note(image, found, opening)
            offset = _format(image, opening, key, header)
        with rbd.Image(ioctx, opening.image) as image:
            _blank(rbd, image, opening, key, offset)
            image.metadata_set(STATE, ENCRYPTED)
    return key


def make_header(passphrase: str, size: int) -> bytes:
    """A LUKS2 header with a new key of the volume, which the passphrase opens.

    Args:
        passphrase: Opens it.
        size: Its bytes: the data follows.

    Raises:
        LuksError: cryptsetup failed.
    """
    descriptor = os.memfd_create("header", os.MFD_CLOEXEC)
    try:
        os.truncate(descriptor, size + _MIB)  # cryptsetup wants room for data, too
        argv = (
            *("cryptsetup", "luksFormat", "--batch-mode", "--disable-locks", "--type", "luks2"),
            *("--cipher", "aes-xts-plain64", "--key-size", "512", "--hash", "sha256", "--sector-size", "4096"),
            # A fixed effort: what cryptsetup measures takes 1 GiB, for each image and each parent that is opened.
            *("--pbkdf", "argon2id", "--pbkdf-memory", "65536", "--pbkdf-parallel", "1"),
            *("--pbkdf-force-iterations", "4", "--offset", str(size // _SECTOR), "--key-file", "-"),
            f"/proc/self/fd/{descriptor}",
        )
        done = subprocess.run(  # noqa: S603  its only variables are numbers
            argv,
            input=passphrase.encode(),
            capture_output=True,
            pass_fds=(descriptor,),
            timeout=_FORMAT_DEADLINE,
            check=False,
        )
        if done.returncode:
            raise LuksError(f"cryptsetup luksFormat: {done.stderr.decode(errors='replace').strip()}")
        return os.pread(descriptor, size, 0)
    except OSError as error:
        raise LuksError(f"cryptsetup cannot be started: {error}") from error
    except subprocess.TimeoutExpired:
        raise LuksError(f"cryptsetup luksFormat did not end within {_FORMAT_DEADLINE:g} s") from None
    finally:
        os.close(descriptor)


def _look(image: Any) -> _Found:
    metadata = dict(image.metadata_list())
    state, dek, dek_of = (told_of(metadata, key) for key in (STATE, DEK, DEK_OF))
    return _Found(state, dek, dek_of, image.read(0, len(MAGIC)) == MAGIC)


def _key(found: _Found, opening: Opening) -> str:
    """What opens an image that has its key, by its Secret's passphrase."""
    if opening.kms != METADATA:
        if found.dek:
            raise LuksError(
                f"image {opening.image} has a passphrase of its own ({DEK}): expected an encryptionKMSID whose type is "
                f"{METADATA!r}, as it was made with"
            )
        return opening.passphrase
    if not found.dek:
        raise LuksError(
            f"image {opening.image} has no passphrase of its own ({DEK}): expected no encryptionKMSID, as it was made "
            "with"
        )
    for handle in dict.fromkeys((opening.handle, *filter(None, found.dek_of.splitlines()))):
        try:
            key = keys.unwrap(found.dek, opening.passphrase, handle)
        except ValueError:
            raise LuksError(f"image {opening.image}: its passphrase ({DEK}) has no form that is known") from None
        if key is not None:
            return key
    raise LuksError(
        f"the encryptionPassphrase of the Secret does not open the passphrase of image {opening.image} ({DEK}): "
        "expected the one that the volume, or what it is a copy of, was made with"
    )


def _own_key(image: Any, found: _Found, opening: Opening) -> str:
    """The same, of one that may have none yet; a copy's is sealed anew, for its own handle."""
    is_new = opening.kms == METADATA and not found.is_used and not found.dek
    key = keys.new() if is_new else _key(found, opening)
    if opening.kms == METADATA and found.dek_of != opening.handle:
        if not found.dek or keys.unwrap(found.dek, opening.passphrase, opening.handle) is None:
            if found.dek_of:  # it may be copied at any moment, and then has one of the two
                image.metadata_set(DEK_OF, f"{found.dek_of}\n{opening.handle}")
            image.metadata_set(DEK, keys.wrap(key, opening.passphrase, opening.handle))
        image.metadata_set(DEK_OF, opening.handle)
    return key


def _note(image: Any, found: _Found, opening: Opening) -> None:
    """Notes that an image is to be encrypted: one that has never been written to."""
    if found.state == PREPARED:
        return
    if found.state:
        raise LuksError(f"image {opening.image} has {STATE} {found.state!r}: expected {PREPARED} or {ENCRYPTED}")
    if data := _written(image, 0):
        raise LuksError(
            f"image {opening.image} has data that is not encrypted, at byte {data[0][0]}: expected an empty image, or "
            "one that begins with a LUKS header; nothing was changed"
        )
    image.metadata_set(STATE, PREPARED)


def _format(image: Any, opening: Opening, key: str, header: Callable[[str, int], bytes]) -> int:
    """Writes the header, unless there is something behind it already; returns its bytes."""
    offset = header_bytes(image.stat()["obj_size"] * image.stripe_count())
    if image.size() < offset + _MIB:
        raise LuksError(
            f"image {opening.image} has {image.size()} bytes: expected {offset + _MIB} at least, as its LUKS header "
            f"has {offset}"
        )
    if not _written(image, offset):
        image.write(header(key, offset), 0)
        image.flush()
    return offset


def _blank(rbd: Any, image: Any, opening: Opening, key: str, offset: int) -> None:
    """Makes encrypted zeros of the places by which a device counts as empty: to dm-crypt, what is unwritten is noise.

    What is there already can only be such zeros, written by one that was cut off.
    """
    written = _written(image, offset)
    try:
        image.encryption_load(rbd.RBD_ENCRYPTION_FORMAT_LUKS2, key)
    except Exception as error:
        raise LuksError(
            f"image {opening.image} is not opened by its passphrase, and has data behind its header: was the Secret "
            f"changed while it was made ready? Nothing was changed ({error})"
        ) from error
    for start, length in written:
        for at in range(start - offset, start - offset + length, _MIB):
            if image.read(at, min(_MIB, start - offset + length - at)).strip(b"\0"):
                raise LuksError(
                    f"image {opening.image} is noted never to have been used ({STATE}), but has data at byte "
                    f"{offset + at}; nothing was changed"
                )
    total = image.size()
    for start, length in places_looked_at(total):
        for at in range(start, min(start + length, total), _MIB):
            image.write(bytes(min(_MIB, total - at)), at)
    image.flush()


def _written(image: Any, offset: int) -> list[tuple[int, int]]:
    """Where an image has data at and behind a byte, as (start, length); parents' included."""
    found: list[tuple[int, int]] = []

    def take(start: int, length: int, exists: bool) -> None:
        if exists and start + length > offset:
            found.append((max(start, offset), start + length - max(start, offset)))

    image.diff_iterate(0, image.size(), None, take)
    return found


@contextmanager
def _alone(ioctx: Any, image_id: str, image: str) -> Iterator[None]:
    """Keeps the nodes apart that use a volume of many writers for the first time."""
    header, cookie = f"rbd_header.{image_id}", f"{os.uname().nodename}-{os.getpid()}"
    try:
        ioctx.lock_exclusive(header, LOCK, cookie, desc="it is being made ready", duration=_LOCK_SECONDS)
    except Exception as error:
        if getattr(error, "errno", None) != errno.EBUSY:
            raise
        raise LuksError(
            f"image {image} is being made ready by another process, or was until it died: its lock ends within "
            f"{_LOCK_SECONDS} s"
        ) from error
    try:
        yield
    finally:
        with suppress(Exception):  # it ends by itself
            ioctx.unlock(header, LOCK, cookie)
