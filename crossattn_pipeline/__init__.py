"""The Dagster layer over ``crossattn_core``, and the command line.

definitions.py  the code location: assets, checks, jobs, schedules, sensors and the resource of one experiment
assets/         assets and asset checks, their specs derived from the table of stages; metadata.py: what they show
jobs.py         asset jobs, and op jobs for overrides   partitions.py  daily partitions   resources.py  the line
schedules.py    daily ticks                             sensors.py, monitoring_sensors.py  what launches runs, and alerts
cli.py          the command ``crossattn``: launch.py runs the jobs in process, commands/ the rest; instance.py
event_log.py    Dagster's SQLite event log, in batches
ui.py           web server and daemons over a home, with one code_server.py; webserver.py: Dagster's, with the reports beside it
"""
