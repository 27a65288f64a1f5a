"""Where results live: a folder that every node sees, or an object store, behind one small set of operations."""

from raykd.storage.folder import give_rights_of_folder
from raykd.storage.location import location, machine_folder, resolved
from raykd.storage.storage import Name, Storage, StoredFile, hash_file

__all__ = [
    "Name",
    "Storage",
    "StoredFile",
    "give_rights_of_folder",
    "hash_file",
    "location",
    "machine_folder",
    "resolved",
]
