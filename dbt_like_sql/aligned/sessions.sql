/* model
description: Grid hours in which a calendar calls for a candle to close. The last half hour of a US session shares its grid hour with the bar before it.
grain: [calendar, as_of]
kind: view
time_column: as_of
columns:
  calendar: "exchange_calendars name, or 24/7 [key]"
  as_of: "grid row whose hour (as_of - 1 h, as_of] holds the close [UTC]"
  candles_expected: "candles that the calendar calls for in that hour, optional ones left out [count]"
  session: "running number of the session [count]"
tests:
  - unique: [calendar, as_of]
*/
with sessions as (select * from raw.sessions)
select
    calendar,
    date_trunc('hour', closed_at + interval 1 hour - interval 1 microsecond) as as_of,
    count(*) filter (not is_optional) as candles_expected,
    max(session) as session
from sessions
group by all
