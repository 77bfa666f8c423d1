"""The pages of the documentation's site that are made, not written: each from what it describes, when the site is built.

hooks.py         what MkDocs calls: adds the made pages, and turns links into the project into links that the site has
knobs.py         reference/knobs.md         from the sections of an experiment
command_line.py  reference/command_line.md  from the commands
rooms.py         reference/rooms.md         from the docstrings of the library's rooms
notebook.py      method.md                  from the executed notebook, pictures included
flowchart.py     a chart that GitHub draws itself, as a picture
doctests.py      doctests in docstrings, as code
"""
