"""What is asked of a bucket itself, by S3 as its owner. Everything here blocks, and runs in threads.

https://docs.ceph.com/en/latest/radosgw/s3/
"""

from __future__ import annotations

import json
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio.to_thread
from botocore.exceptions import BotoCoreError, ClientError

from controller.framework.text import brief

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from informers import JsonObject

AT_ONCE = 8
"""Most requests to object stores that are under way."""
BATCH = 1000
"""Objects that are deleted by one request; the most that S3 takes."""

_ABSENT = ("NoSuchBucket", "NoSuchBucketPolicy", "NoSuchLifecycleConfiguration", "NoSuchKey", "404")


class BucketError(Exception):
    """The store refuses something, or does not answer. Trying again later may help."""


class S3Bucket:
    """A bucket, as its owner sees it.

    Args:
        client: boto3's, with the keys of the owner.
        name: The bucket.
    """

    def __init__(self, client: Any, name: str) -> None:
        self._client, self._name = client, name

    def create(self) -> None:
        """Makes it. It is no error if the owner has it."""
        make = partial(self._client.create_bucket, Bucket=self._name)
        self._ask("be made", make, absent=("BucketAlreadyOwnedByYou",))

    def policy(self) -> JsonObject | None:
        """Its policy; None: there is none."""
        found = self._ask("say its policy", partial(self._client.get_bucket_policy, Bucket=self._name))
        if found is None:
            return None
        policy: JsonObject = json.loads(found["Policy"])
        return policy

    def set_policy(self, policy: Mapping[str, Any] | None) -> None:
        """Gives it a policy; None: takes it away."""
        if policy is None:
            self._ask("lose its policy", partial(self._client.delete_bucket_policy, Bucket=self._name))
            return
        put = partial(self._client.put_bucket_policy, Bucket=self._name, Policy=json.dumps(policy))
        self._ask("take the policy", put, absent=())

    def lifecycle(self) -> JsonObject | None:
        """Its lifecycle; None: there is none."""
        get = partial(self._client.get_bucket_lifecycle_configuration, Bucket=self._name)
        found = self._ask("say its lifecycle", get)
        return None if found is None else {"Rules": found.get("Rules", [])}

    def set_lifecycle(self, lifecycle: Mapping[str, Any] | None) -> None:
        """Gives it a lifecycle; None: takes it away."""
        if lifecycle is None:
            self._ask("lose its lifecycle", partial(self._client.delete_bucket_lifecycle, Bucket=self._name))
            return
        put = partial(
            self._client.put_bucket_lifecycle_configuration,
            Bucket=self._name,
            LifecycleConfiguration=dict(lifecycle),
        )
        self._ask("take the lifecycle", put, absent=())

    def purge(self, seconds: float) -> bool:
        """Deletes what is in it: all versions of all objects, and uploads that were not ended.

        Args:
            seconds: For how long.

        Returns:
            Whether nothing is left.

        Raises:
            BucketError: Some of it cannot be deleted.
        """
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            listing = partial(self._client.list_object_versions, Bucket=self._name, MaxKeys=BATCH)
            page = self._ask("list its objects", listing) or {}
            found = [*page.get("Versions", ()), *page.get("DeleteMarkers", ())]
            if not found:
                self._abort_uploads()
                return True
            self._delete([{"Key": item["Key"], "VersionId": item["VersionId"]} for item in found])
        return False

    def _delete(self, objects: list[JsonObject]) -> None:
        what = {"Objects": objects, "Quiet": True}
        answer = self._ask("be emptied", partial(self._client.delete_objects, Bucket=self._name, Delete=what)) or {}
        errors = answer.get("Errors", ())
        if errors:
            first = errors[0]
            told = f"{first.get('Code', '')} {first.get('Message', '')}".strip()
            raise BucketError(
                f"bucket {self._name}: {len(errors)} of {len(objects)} objects cannot be deleted, such as "
                f"{first.get('Key', '')!r}: {brief(told)}"
            )

    def _abort_uploads(self) -> None:
        page = self._ask("list its uploads", partial(self._client.list_multipart_uploads, Bucket=self._name)) or {}
        for upload in page.get("Uploads", ()):
            which = {"Key": upload["Key"], "UploadId": upload["UploadId"]}
            abort = partial(self._client.abort_multipart_upload, Bucket=self._name, **which)
            self._ask("end an upload", abort, absent=(*_ABSENT, "NoSuchUpload"))

    def _ask(self, what: str, call: Callable[[], JsonObject], *, absent: tuple[str, ...] = _ABSENT) -> JsonObject | None:
        """The answer of a call; None where it says one of the codes `absent`."""
        try:
            return call()
        except ClientError as error:
            answer: dict[str, Any] = error.response.get("Error", {})
            code = str(answer.get("Code", ""))
            if code in absent:
                return None
            told = brief(f"{code} {answer.get('Message') or ''}".strip())
            raise BucketError(f"bucket {self._name} does not {what}: {told}") from error
        except (BotoCoreError, OSError) as error:
            raise BucketError(f"bucket {self._name} does not {what}: {brief(error)}") from error


class Threads:
    """Runs what blocks in threads, `AT_ONCE` of them."""

    def __init__(self) -> None:
        self._limiter = anyio.CapacityLimiter(AT_ONCE)

    async def run[T](self, function: Callable[..., T], *arguments: Any) -> T:
        """The result of a function. Who does not wait for it any more leaves it to its end."""
        call = partial(function, *arguments)
        return await anyio.to_thread.run_sync(call, abandon_on_cancel=True, limiter=self._limiter)
