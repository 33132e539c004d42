"""Bare git repositories on disk: reading revisions and trees, and commits that happen whole or not at all.

Every write to a repository holds that repository's lock, writes its objects first and
moves one reference last. What a failed write leaves behind is unreachable, never half a commit.
"""

import shutil
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType

from dulwich.objects import Blob
from dulwich.repo import Repo as GitRepo

from hfvaccine.files import sync_folder
from hfvaccine.localhub.store.large_files import Pointer
from hfvaccine.localhub.store.place import Place
from hfvaccine.localhub.store.repository import Repository, remove_stale_locks

RECENT_PLACES = 8
"""Of so many repositories more than their lock is kept between requests."""

# What a new repo's .gitattributes sends to large-file storage.
LARGE_PATTERNS = (
    "*.7z *.arrow *.avi *.bin *.bz2 *.ckpt *.flac *.ftz *.gguf *.gif *.gz *.h5 *.jpeg *.jpg *.joblib *.mds *.mkv"
    " *.mlmodel *.model *.mp3 *.mp4 *.msgpack *.npy *.npz *.ogg *.onnx *.ot *.parquet *.pb *.pickle *.pkl *.png *.pt"
    " *.pth *.rar *.safetensors *.sqlite3 *.tar *.tflite *.tgz *.tiff *.wasm *.wav *.webm *.webp *.xz *.zip *.zst"
)


class Storage:
    """All repositories of a Hub.

    Args:
        root: the Hub's data folder. No other process may serve it meanwhile.
    """

    def __init__(self, root: Path) -> None:
        self._folder = root / "repos"
        self._folder.mkdir(parents=True, exist_ok=True)
        self._places: dict[str, Place] = {}
        self._recent: dict[str, None] = {}  # the folders whose places hold more than a lock, the latest one last
        self._lock = threading.Lock()
        # What a blob's bytes say about it never changes, so this cache never goes stale.
        self._facts: dict[bytes, tuple[int, Pointer | None]] = {}
        remove_stale_locks(self._folder)

    def create(self, folder: str, author: str, files: Mapping[str, bytes] = MappingProxyType({})) -> None:
        """Make a repository whose `main` holds .gitattributes, and these files by their paths."""
        path = self._folder / folder
        path.mkdir()
        try:
            GitRepo.init_bare(path, default_branch=b"main").close()
            attributes = "".join(f"{one} filter=lfs diff=lfs merge=lfs -text\n" for one in LARGE_PATTERNS.split())
            sync_folder(self._folder)
            with self.open(folder, lambda oid: False) as repository:
                blobs = {
                    path: Blob.from_string(content)
                    for path, content in {".gitattributes": attributes.encode(), **files}.items()
                }
                additions = {path: blob.id for path, blob in blobs.items()}
                repository.commit("main", author, "initial commit", {}, additions, first=True, blobs=[*blobs.values()])
        except BaseException:
            shutil.rmtree(path, ignore_errors=True)
            raise

    def remove(self, folder: str) -> None:
        """Delete a repository from the disk."""
        with self._lock:
            place = self._places.setdefault(folder, Place(self._folder / folder))
            self._recent.pop(folder, None)
        with place.lock:
            shutil.rmtree(self._folder / folder, ignore_errors=True)
            place.clear()

    @contextmanager
    def open(self, folder: str, is_bound: Callable[[str], bool]) -> Iterator["Repository"]:
        """A repository for the length of one request.

        Args:
            folder: the repository's folder.
            is_bound: whether this repo may use the large file of that hash. A pointer to any
                other file is nothing but text: committing one must not open another repo's file.
        """
        place = self._place(folder)
        git = place.take()
        try:
            yield Repository(git, place, self._facts, is_bound)
        finally:
            place.give_back(git, keep=folder in self._recent)

    def close(self) -> None:
        """Close what is kept open between requests."""
        with self._lock:
            for place in self._places.values():
                place.clear()

    def _place(self, folder: str) -> Place:
        with self._lock:
            place = self._places.setdefault(folder, Place(self._folder / folder))
            self._recent.pop(folder, None)
            self._recent[folder] = None
            if len(self._recent) > RECENT_PLACES:
                oldest = next(iter(self._recent))
                del self._recent[oldest]
                self._places[oldest].clear()
        place.refresh()
        return place
