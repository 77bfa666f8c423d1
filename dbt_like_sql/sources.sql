-- Tables that the models read and do not make. `sync_sources` fills them from the lake, the universe and the
-- calendars. A comment holds a column's description, its unit in brackets.

create schema if not exists raw;

create table if not exists raw.candles (
    asset_id varchar,      -- venue:category:symbol [key]
    opened_at timestamp,   -- first instant that the candle covers [UTC]
    closed_at timestamp,   -- first instant that it no longer covers [UTC]
    traded_row timestamp,  -- the grid row whose bar (row - bar, row] holds the close [UTC]
    known_row timestamp,   -- the first grid row that may know it: close and publication lag lie behind [UTC]
    open double,           -- first price [quote currency]
    high double,           -- highest price [quote currency]
    low double,            -- lowest price [quote currency]
    close double,          -- last price [quote currency]
    volume double,         -- traded size [base units]
    turnover double,       -- traded value, NaN where the source lacks it [quote currency]
    fetched_at timestamp   -- when the first closed value was stored [UTC]
);

create table if not exists raw.funding (
    asset_id varchar,      -- venue:category:symbol [key]
    settled_at timestamp,  -- when the payment fell due [UTC]
    settled_row timestamp, -- the grid row whose bar holds the settlement [UTC]
    rate double,           -- paid by longs to shorts [fraction of notional]
    fetched_at timestamp   -- when it was stored [UTC]
);

create table if not exists raw.dividends (
    asset_id varchar,      -- venue:category:symbol [key]
    ex_at timestamp,       -- opening bell of the ex-date: who holds then is paid [UTC]
    ex_row timestamp,      -- the grid row whose bar holds the opening bell [UTC]
    amount double,         -- paid for a unit held, on the scale of the stored prices [quote currency]
    fetched_at timestamp   -- when it was stored [UTC]
);

create table if not exists raw.revisions (
    asset_id varchar,             -- venue:category:symbol [key]
    closed_at timestamp,          -- the candle that the source told differently later [UTC]
    field varchar,                -- which of its values [name]
    first_value double,           -- the first closed value [as the field]
    later_value double,           -- what the source said later [as the field]
    first_fetched_at timestamp,   -- when the first was stored [UTC]
    later_fetched_at timestamp,   -- when the later was seen [UTC]
    adopted_at timestamp          -- when history was told to use the later value, null where it uses the first [UTC]
);

create table if not exists raw.quarantine (
    asset_id varchar,      -- venue:category:symbol [key]
    closed_at timestamp,   -- the candle that broke a rule [UTC]
    reason varchar,        -- the rule [name]
    detail varchar,        -- what was wrong with it [text]
    fetched_at timestamp   -- when it was refused [UTC]
);

create table if not exists raw.coverage (
    asset_id varchar,      -- venue:category:symbol [key]
    day date,              -- the daily partition that was asked for [UTC day]
    rows bigint,           -- candles stored [count]
    expected bigint,       -- candles that the calendar calls for [count]
    gaps bigint,           -- expected candles that are missing [count]
    attempts bigint        -- how often the day was asked for [count]
);

create table if not exists raw.assets (
    asset_id varchar,                 -- venue:category:symbol [key]
    position integer,                 -- place on the panel's asset axis [index from 0]
    venue varchar,                    -- where it trades [name]
    category varchar,                 -- instrument class [name]
    symbol varchar,                   -- the venue's own symbol [name]
    sector varchar,                   -- group in the hierarchy [name]
    market varchar,                   -- top of the hierarchy [name]
    bar_minutes integer,              -- length of a bar of the grid [minutes]
    candles_per_bar integer,          -- candles of a venue that never closes in one bar [count]
    calendar varchar,                 -- sessions that it follows [exchange_calendars name]
    pays_funding boolean,             -- whether holders exchange funding [yes or no]
    max_age_hours integer,            -- older than this, the newest candle is no longer read [hours]
    publication_lag_seconds integer   -- a candle is known this long after its close [seconds]
);

create table if not exists raw.sessions (
    calendar varchar,      -- exchange_calendars name, or 24/7 [key]
    opened_at timestamp,   -- opening of a candle that the calendar calls for [UTC]
    closed_at timestamp,   -- its close [UTC]
    closed_row timestamp,  -- the grid row whose bar holds the close [UTC]
    session bigint,        -- running number of the session [count]
    is_optional boolean    -- whether sources often lack it: closing bars of half days [yes or no]
);

-- What the walk-forward, the portfolio and the backtest stored, read back by `sync_results` for the marts.

create schema if not exists results;

create table if not exists results.forecasts (
    as_of timestamp,       -- information of the forecast ends here [UTC]
    asset_id varchar,      -- venue:category:symbol [key]
    family varchar,        -- model family [name]
    horizon integer,       -- bars from fill to exit [bars]
    forecast float,        -- expected return over the horizon [fraction, log]
    model_id varchar       -- the model in force [hash]
);

create table if not exists results.weights (
    as_of timestamp,       -- when the weight was decided [UTC]
    asset_id varchar,      -- venue:category:symbol [key]
    strategy varchar,      -- who decided [name]
    target_weight double   -- share of equity to hold, null where the position is left alone [fraction]
);

create table if not exists results.returns (
    as_of timestamp,         -- grid row [UTC]
    strategy varchar,        -- whose equity [name]
    equity double,           -- equity after costs [quote currency]
    net_return double,       -- change of equity since the row before, after costs [fraction, simple]
    gross_exposure double,   -- sum of absolute weights [fraction of equity]
    net_exposure double,     -- sum of weights [fraction of equity]
    turnover double,         -- sum of absolute trades [fraction of equity]
    fee_paid double,         -- exchange fees [quote currency]
    spread_paid double,      -- half-spreads [quote currency]
    slippage_paid double,    -- slippage [quote currency]
    funding_paid double,     -- funding, negative where received [quote currency]
    borrow_paid double,      -- borrowing of shorts [quote currency]
    impact_paid double,      -- impact of trades on their own prices [quote currency]
    delisting_paid double,   -- positions written off with dead assets [quote currency]
    interest_paid double,    -- interest, negative where received [quote currency]
    dividend_received double -- dividends, negative where a short paid them [quote currency]
);

create table if not exists results.attention (
    day timestamp,         -- day of the snapshot [UTC day]
    model_id varchar,      -- the model that attended [hash]
    quantity varchar,      -- what is told, see analysis/snapshot_store.py [name]
    target varchar,        -- who attends [asset key or empty]
    source varchar,        -- who is attended to [asset key or empty]
    lag integer,           -- bars of lead, -1 where the quantity has none [bars]
    head integer,          -- attention head, -1 where the quantity has none [index from 0]
    value float            -- the quantity [as its name says]
);

create table if not exists results.attention_evidence (
    day timestamp,            -- first day on which the model was in force [UTC day]
    model_id varchar,         -- the model [hash]
    leader varchar,           -- who is read, or moves first [asset key]
    follower varchar,         -- who reads, or moves later [asset key]
    attention float,          -- share of the follower's attention [fraction]
    gradient float,           -- share of gradient x input [fraction]
    occlusion float,          -- share of the forecast's move when the leader lives in other weeks [fraction]
    attention_lag integer,    -- lag of the largest attention [bars]
    gradient_lag integer,     -- lag of the largest gradient x input [bars]
    correlation float,        -- largest lagged cross-correlation [correlation]
    correlation_lag integer,  -- its lag [bars]
    correlation_q float,      -- false-discovery rate at which it is found [fraction]
    granger_f float,          -- F of the leader's past beside the follower's own [ratio]
    granger_q float,          -- false-discovery rate at which it is found [fraction]
    hy_correlation float,     -- largest Hayashi-Yoshida correlation among leads [correlation]
    hy_lag integer,           -- its lag [bars]
    hy_ratio float,           -- squares over leads over squares over lags [ratio]
    hy_q float                -- false-discovery rate at which it is found [fraction]
);

create table if not exists results.attention_agreement (
    day timestamp,           -- first day on which the model was in force [UTC day]
    model_id varchar,        -- the model [hash]
    first_view varchar,      -- a view or a statistic [name]
    second_view varchar,     -- another [name]
    rank_correlation float,  -- Spearman over all ordered pairs [correlation]
    within_target float      -- the same within followers, averaged [correlation]
);

create table if not exists results.regime_windows (
    window_id bigint,      -- running number [count]
    regime bigint,         -- regime in force, -1 while unknown [number]
    name varchar,          -- its name [name]
    confirmed timestamp,   -- first day on which it is in force from 00:00 [UTC]
    "end" timestamp        -- first day of the next window, null while open [UTC]
);

create table if not exists results.settings (
    name varchar,          -- knob of the experiment that a mart needs [name]
    value double           -- its value [as the knob]
);
