"""What must outlive the machine, in an object store: the home's backups, and the newest results for others to read.

snapshot.py holds the home still for an instant, manifest.py names what a backup holds, back_up.py sends what is new and
restore.py brings it back, publish.py copies target weights and pages there after a run; destination.py is the store.

    <prefix>/objects/<aa>/<sha256>      content, by its hash; never changed
    <prefix>/manifests/<name>.json      one backup: path -> hash and size; never changed
    <prefix>/latest.json                the backup in force; changed by compare-and-swap, last
"""
