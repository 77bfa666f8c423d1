/* model
description: Grid rows in whose bar a calendar calls for a candle to close. On an hourly grid the last half hour of a US session shares its row with the bar before it.
grain: [calendar, as_of]
kind: view
time_column: as_of
columns:
  calendar: "exchange_calendars name, or 24/7 [key]"
  as_of: "grid row whose bar (as_of - bar, as_of] holds the close [UTC]"
  candles_expected: "candles that the calendar calls for in that bar, optional ones left out [count]"
  session: "running number of the session [count]"
tests:
  - unique: [calendar, as_of]
*/
with sessions as (select * from raw.sessions)
select
    calendar,
    closed_row as as_of,
    count(*) filter (not is_optional) as candles_expected,
    max(session) as session
from sessions
group by all
