"""Where results live: a folder that every node sees, or an object store, behind one small set of operations."""

from raykd.storage.copies import hash_file
from raykd.storage.folder import give_rights_of_folder
from raykd.storage.location import location, machine_folder, resolved
from raykd.storage.operations import Name
from raykd.storage.probe import is_full, read_probe, remove_probe, write_probe
from raykd.storage.storage import Fence, Storage, StoredFile, no_fence

__all__ = [
    "Fence",
    "Name",
    "Storage",
    "StoredFile",
    "give_rights_of_folder",
    "hash_file",
    "is_full",
    "location",
    "machine_folder",
    "no_fence",
    "read_probe",
    "remove_probe",
    "resolved",
    "write_probe",
]
