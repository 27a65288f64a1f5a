"""Where results live: a folder that every node sees, or an object store, behind one small set of operations."""

from raykd.storage.location import location, machine_folder, resolved
from raykd.storage.storage import Name, Storage, StoredFile, hash_file

__all__ = ["Name", "Storage", "StoredFile", "hash_file", "location", "machine_folder", "resolved"]
