"""Four clients of an object store that put objects into a bucket and read them, without end."""

from dataclasses import dataclass

from e2e.eventually import NotYetError, eventually
from e2e.s3 import CONNECT, User

_LOAD = """\
import pathlib, threading, traceback
bucket = sys.argv[2]
place = pathlib.Path(f"/tmp/load-{bucket}")
place.mkdir(exist_ok=True)
try:
    s3.create_bucket(Bucket=bucket)
except s3.exceptions.BucketAlreadyOwnedByYou:
    pass

def work(number):
    done = 0
    while not (place / "stop").exists():
        body = os.urandom(4096)
        try:
            s3.put_object(Bucket=bucket, Key=f"{number}-{done % 50}", Body=body)
            if s3.get_object(Bucket=bucket, Key=f"{number}-{done % 50}")["Body"].read() != body:
                raise RuntimeError("another object was read than was written")
        except Exception:
            with (place / "failed").open("a") as file:
                file.write(traceback.format_exc(limit=1))
        done += 1
        (place / f"done-{number}").write_text(str(done))

threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
"""


@dataclass(frozen=True)
class Load:
    """The clients of one bucket, in a user's pod."""

    user: User
    bucket: str

    def start(self) -> None:
        """Start them; each tries a request as often as the user does."""
        run = f'rm -rf /tmp/load-{self.bucket}; nohup python3 -c "$0" "$@" > /tmp/load-{self.bucket}.log 2>&1 &'
        self.user.execute("sh", "-c", run, CONNECT + _LOAD, self.user.place, self.bucket)
        self.wait()

    def stop(self) -> None:
        """Stop them."""
        self._run(f"touch /tmp/load-{self.bucket}/stop")

    def wait(self, more: int = 40) -> None:
        """Wait until so many more objects were put and read."""
        wanted = self._done() + more

        def look() -> None:
            if (number := self._done()) < wanted:
                log = self._run(f"tail -n 3 /tmp/load-{self.bucket}.log")
                raise NotYetError(f"{number} of {wanted} objects; {log.strip()}")

        eventually(f"objects in bucket {self.bucket}", look, deadline=60)

    def failures(self) -> str:
        """What they could not do, though they tried again."""
        return self._run(f"cat /tmp/load-{self.bucket}/failed 2>/dev/null || true").strip()

    def _done(self) -> int:
        """How many objects were put and read."""
        lines = self._run(f"for file in /tmp/load-{self.bucket}/done-*; do cat $file; echo; done").split()
        return sum(int(line) for line in lines if line.isdecimal())

    def _run(self, script: str) -> str:
        return self.user.execute("sh", "-c", script)
