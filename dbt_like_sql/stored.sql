-- What the stages store, table by table: which asset holds it, where its files lie below the home, and of each column what it
-- is, its unit in brackets, and behind <- the columns that it is made from. `panel.<features>` are the features that the
-- experiment names, `settings.<section>` is a section of the experiment. A table without files is read through the lake; one
-- without <- comes from outside. Nothing is created from this file: crossattn_core/warehouse/stored.py reads it, for schemas and
-- column lineage, and tests compare it with the files of a run. The panel's columns are those of features.panel_rows.

-- asset: candles/<venue>; files: lake/*/candles/<venue>/*/*/*.parquet
create table candles (
    asset_id varchar,     -- venue:category:symbol [key]
    opened_at timestamp,  -- first instant that the candle covers [UTC]
    closed_at timestamp,  -- first instant that it no longer covers [UTC]
    open double,          -- first price [quote currency]
    high double,          -- highest price [quote currency]
    low double,           -- lowest price [quote currency]
    close double,         -- last price [quote currency]
    volume double,        -- traded size [base units]
    turnover double,      -- traded value, NaN where the source lacks it [quote currency]
    fetched_at timestamp  -- when the first closed value was stored [UTC]
);

-- asset: candles/<venue>
create table dividends (
    asset_id varchar,     -- venue:category:symbol [key]
    ex_at timestamp,      -- opening bell of the ex-date: who holds then is paid [UTC]
    amount double,        -- paid for a unit held, on the scale of the stored prices [quote currency]
    fetched_at timestamp  -- when it was stored [UTC]
);

-- asset: candles/<venue>
create table revisions (
    asset_id varchar,            -- venue:category:symbol [key]
    opened_at timestamp,         -- first instant that the candle covers [UTC]
    closed_at timestamp,         -- the candle that the source told differently later [UTC]
    field varchar,               -- which of its values [name]
    first_value double,          -- the first closed value [as the field]
    later_value double,          -- what the source said later [as the field]
    first_fetched_at timestamp,  -- when the first was stored [UTC]
    later_fetched_at timestamp,  -- when the later was seen [UTC]
    adopted_at timestamp         -- when history was told to use the later value, null where it uses the first [UTC]
);

-- asset: candles/<venue>
create table quarantine (
    asset_id varchar,     -- venue:category:symbol [key]
    opened_at timestamp,  -- first instant that the candle covers [UTC]
    closed_at timestamp,  -- the candle that broke a rule [UTC]
    open double,          -- first price [quote currency]
    high double,          -- highest price [quote currency]
    low double,           -- lowest price [quote currency]
    close double,         -- last price [quote currency]
    volume double,        -- traded size [base units]
    turnover double,      -- traded value, NaN where the source lacks it [quote currency]
    reason varchar,       -- the rule [name]
    detail varchar,       -- what was wrong with it [text]
    fetched_at timestamp  -- when it was refused [UTC]
);

-- asset: candles/<venue>
create table coverage (
    asset_id varchar,       -- venue:category:symbol [key]
    venue varchar,          -- where it trades [name]
    day date,               -- the daily partition that was asked for [UTC day]
    asked_until timestamp,  -- end of what the last request covered [UTC]
    rows bigint,            -- candles stored [count]
    expected bigint,        -- candles that the calendar calls for [count]
    gaps bigint,            -- expected candles that are missing [count]
    first timestamp,        -- first close of the day, null where there is none [UTC]
    last timestamp,         -- last close of the day, null where there is none [UTC]
    content_hash varchar,   -- what the day's file holds [hash]
    file varchar,           -- the day's file [path below the lake]
    sha256 varchar,         -- of its bytes [hash]
    attempts bigint,        -- how often the day was asked for [count]
    fetched_at timestamp    -- when it was last asked for [UTC]
);

-- asset: candles/<venue>_funding; files: lake/*/funding/<venue>/*/*/*.parquet
create table funding (
    asset_id varchar,      -- venue:category:symbol [key]
    settled_at timestamp,  -- when the payment fell due [UTC]
    rate double,           -- paid by longs to shorts [fraction of notional]
    fetched_at timestamp   -- when it was stored [UTC]
);

-- asset: regime_windows; files: walk_forward/regime_windows.parquet
create table regime_windows (
    window_id bigint,     -- running number [count] <- regime_windows.regime
    regime bigint,        -- regime in force, -1 while unknown [number] <- panel.trade_price, settings.regimes
    name varchar,         -- its name [name] <- regime_windows.regime
    onset timestamp,      -- first day of the run of days that was confirmed [UTC] <- panel.as_of, regime_windows.regime
    confirmed timestamp,  -- first day on which it is in force from 00:00 [UTC] <- panel.as_of, regime_windows.regime
    "end" timestamp,      -- first day of the next window, null while open [UTC] <- panel.as_of, regime_windows.regime
    days bigint,          -- length of the window so far [days] <- regime_windows.confirmed, regime_windows.end
    volatility double,    -- mean of the days' market volatility [fraction, log] <- panel.trade_price
    correlation double,   -- mean of the days' correlation of assets [correlation] <- panel.trade_price
    level double,         -- mean of the days' level against the trend [ratio] <- panel.trade_price
    opened_by varchar     -- what set it apart from the window before [text] <- regime_windows.regime
);

-- asset: retrain_plan
create table plan (
    day timestamp,           -- the day that begins [UTC day] <- panel.as_of
    action varchar,          -- retrain, or carry what is in force [name] <- plan.reason
    reason varchar,          -- the rule that decided [name] <- plan.regime, plan.drift, plan.ic_gap, settings.retrain
    why varchar,             -- the same in words, with its numbers [text] <- plan.reason
    family varchar,          -- model family [name] <- settings.retrain
    model_id varchar,        -- the model in force, empty for none [hash] <- plan.trained_id, plan.healthy
    parent_id varchar,       -- the model that it was warm-started from, empty for none [hash] <- plan.trained_id
    trained_id varchar,      -- the model fitted on this day, empty for none [hash]
    -- <- plan.action, panel.<features>, panel.age_hours, panel.trade_price, settings.model,
    --    settings.training, settings.labels
    healthy boolean,         -- whether what was fitted may serve [yes or no] <- plan.trained_id, settings.retrain
    health varchar,          -- the reasons [text] <- plan.healthy
    regime bigint,           -- regime known at the day's start, -1 while unknown [number] <- panel.trade_price, settings.regimes
    window_id bigint,        -- the regime's window [count] <- plan.regime
    train_start timestamp,   -- first row that the model in force learnt from [UTC] <- panel.as_of, settings.training
    cut_off timestamp,       -- the model in force knows no label that ends later [UTC] <- panel.as_of, settings.labels
    rows double,             -- rows that it learnt from [count] <- panel.as_of, panel.age_hours, panel.trade_price
    validation_loss double,  -- its loss on held-out rows [loss] <- plan.trained_id
    drift double,            -- growth of the features' population-stability index since the fit [index] <- panel.<features>
    ic_gap double            -- rolling IC of the baseline less that of the first family, over earlier days [correlation]
    -- <- panel.<features>, panel.trade_price, settings.retrain
);

-- asset: forecasts; files: walk_forward/predictions/*.parquet
create table predictions (
    as_of timestamp,   -- information of the prediction ends here [UTC] <- panel.as_of
    asset_id varchar,  -- venue:category:symbol [key] <- panel.asset_id
    family varchar,    -- model family [name] <- plan.family
    kind varchar,      -- a return to expect, or a weight to hold [return or weight] <- settings.model
    horizon integer,   -- bars from fill to exit [bars] <- settings.labels
    value float,       -- log return over the horizon; of kind weight, the share of equity to hold before limits [fraction]
    -- <- panel.<features>, panel.age_hours, panel.is_fresh, plan.model_id
    model_id varchar   -- the model in force [hash] <- plan.model_id
);

-- asset: attention_snapshot; files: attention/*.parquet
create table attention (
    day timestamp,     -- day of the snapshot [UTC day] <- predictions.as_of
    model_id varchar,  -- the model that attended [hash] <- predictions.model_id
    quantity varchar,  -- what is told, see analysis/snapshot_store.py [name] <- settings.analysis
    target varchar,    -- who attends [asset key or empty] <- panel.asset_id
    source varchar,    -- who is attended to [asset key or empty] <- panel.asset_id
    lag integer,       -- bars of lead, -1 where the quantity has none [bars] <- attention.value
    head integer,      -- attention head, -1 where the quantity has none [index from 0] <- settings.model
    value float        -- the quantity [as its name says]
    -- <- panel.<features>, panel.age_hours, panel.is_fresh, predictions.model_id
);

-- asset: attention_snapshot; files: attention/next_bar/*.parquet
create table next_bar (
    as_of timestamp,   -- information of the forecast ends here [UTC] <- panel.as_of
    asset_id varchar,  -- venue:category:symbol [key] <- panel.asset_id
    forecast float,    -- return of the next bar [fraction, log]
    -- <- panel.<features>, panel.age_hours, panel.is_fresh, predictions.model_id
    alone float,       -- the same by the model without cross-attention [fraction, log]
    -- <- panel.<features>, panel.age_hours, panel.is_fresh, predictions.model_id
    model_id varchar   -- the model in force [hash] <- predictions.model_id
);

-- asset: attention_snapshot; files: attention/evidence/*.parquet
create table attention_evidence (
    day timestamp,            -- first day on which the model was in force [UTC day] <- attention.day
    model_id varchar,         -- the model [hash] <- attention.model_id
    leader varchar,           -- who is read, or moves first [asset key] <- panel.asset_id
    follower varchar,         -- who reads, or moves later [asset key] <- panel.asset_id
    attention float,          -- share of the follower's attention [fraction] <- attention.value
    gradient float,           -- share of gradient x input [fraction] <- panel.<features>, attention.model_id
    occlusion float,          -- share of the forecast's move when the leader lives in other weeks [fraction]
    -- <- panel.<features>, attention.model_id
    attention_lag integer,    -- lag of the largest attention [bars] <- attention.value
    gradient_lag integer,     -- lag of the largest gradient x input [bars] <- panel.<features>, attention.model_id
    correlation float,        -- largest lagged cross-correlation [correlation] <- panel.trade_price
    correlation_lag integer,  -- its lag [bars] <- panel.trade_price
    correlation_q float,      -- false-discovery rate at which it is found [fraction] <- panel.trade_price, settings.analysis
    granger_f float,          -- F of the leader's past beside the follower's own [ratio] <- panel.trade_price
    granger_q float,          -- false-discovery rate at which it is found [fraction] <- panel.trade_price, settings.analysis
    hy_correlation float,     -- largest Hayashi-Yoshida correlation among leads [correlation] <- panel.trade_price
    hy_lag integer,           -- its lag [bars] <- panel.trade_price
    hy_ratio float,           -- squares over leads over squares over lags [ratio] <- panel.trade_price
    hy_q float                -- false-discovery rate at which it is found [fraction] <- panel.trade_price, settings.analysis
);

-- asset: attention_snapshot; files: attention/agreement/*.parquet
create table attention_agreement (
    day timestamp,           -- first day on which the model was in force [UTC day] <- attention.day
    model_id varchar,        -- the model [hash] <- attention.model_id
    first_view varchar,      -- a view or a statistic [name] <- settings.analysis
    second_view varchar,     -- another [name] <- settings.analysis
    rank_correlation double, -- Spearman over all ordered pairs [correlation]
    -- <- attention.value, attention_evidence.gradient, attention_evidence.occlusion,
    --    attention_evidence.correlation, attention_evidence.granger_f, attention_evidence.hy_correlation
    within_target double     -- the same within followers, averaged [correlation] <- attention_agreement.rank_correlation
);

-- asset: target_weights; files: weights/*.parquet
create table weights (
    as_of timestamp,       -- when the weight was decided [UTC] <- panel.as_of, settings.portfolio
    asset_id varchar,      -- venue:category:symbol [key] <- panel.asset_id
    strategy varchar,      -- who decided [name] <- plan.family, settings.baselines
    target_weight double,  -- share of equity to hold, null where the position is left alone [fraction]
    -- <- predictions.value, panel.trade_price, panel.mark_price, panel.age_hours, settings.portfolio,
    --    settings.baselines, settings.costs
    shrinkage double       -- factor on the forecasts before sizing, null where none is used [ratio]
    -- <- predictions.value, panel.trade_price, settings.portfolio
);

-- asset: target_weights; files: target_weights/target_weights.parquet
create table orders (
    as_of timestamp,     -- when the information of the decision ends [UTC] <- weights.as_of
    fill_at timestamp,   -- when it is traded [UTC] <- weights.as_of, settings.labels
    asset_id varchar,    -- venue:category:symbol [key] <- weights.asset_id
    weight double,       -- share of equity to hold from the fill on, null: leave the position alone [fraction]
    -- <- weights.target_weight, orders.champion
    held_weight double,  -- drifted share before the trade [fraction of equity]
    -- <- weights.target_weight, orders.champion, panel.trade_price
    tradable boolean,    -- whether the calendar has the venue open at the fill [yes or no] <- settings.assets
    forecast float,      -- log return over the traded horizon, null where the champion forecasts nothing [fraction, log]
    -- <- predictions.value, orders.champion
    model_id varchar,    -- the model that forecast [hash] <- predictions.model_id
    champion varchar     -- the strategy followed [name] <- champions.champion
);

-- asset: target_weights; files: target_weights/champions.parquet
create table champions (
    day timestamp,        -- the day on which it is followed [UTC day] <- panel.as_of
    champion varchar,     -- the strategy followed [name] <- paired_tests.low, paired_tests.ic_gain_low, settings.selection
    chosen_on timestamp,  -- when it was chosen, from returns realised before [UTC] <- panel.as_of, settings.selection
    why varchar           -- the reason [text] <- champions.champion
);

-- asset: target_weights; files: target_weights/duels.parquet
create table paired_tests (
    chosen_on timestamp,  -- when the families were compared [UTC] <- panel.as_of, settings.selection
    family varchar,       -- model family [name] <- plan.family
    against varchar,      -- the strategy beside it [name] <- settings.selection
    advantage double,     -- mean daily return of the one less the other, after costs [fraction]
    -- <- weights.target_weight, panel.trade_price, settings.costs
    low double,           -- lower end of its interval [fraction] <- weights.target_weight, panel.trade_price, settings.costs
    days bigint,          -- days compared [count] <- panel.as_of
    ic double,            -- IC of the family's forecasts [correlation] <- predictions.value, panel.trade_price
    ic_gain double,       -- the same less that of the other [correlation] <- predictions.value, panel.trade_price
    ic_gain_low double    -- lower end of its interval [correlation] <- predictions.value, panel.trade_price
);

-- asset: backtest_report; files: reports/*/returns.parquet
create table returns (
    as_of timestamp,          -- grid row [UTC] <- panel.as_of
    strategy varchar,         -- whose equity [name] <- weights.strategy
    equity double,            -- equity after costs [quote currency] <- returns.net_return, settings.backtest
    net_return double,        -- change of equity since the row before, after costs [fraction, simple]
    -- <- weights.target_weight, panel.trade_price, panel.mark_price, returns.fee_paid,
    --    returns.spread_paid, returns.slippage_paid, returns.funding_paid, returns.borrow_paid,
    --    returns.impact_paid, returns.delisting_paid, returns.interest_paid, returns.dividend_received
    gross_exposure double,    -- sum of absolute weights [fraction of equity]
    -- <- weights.target_weight, panel.mark_price, panel.trade_price
    net_exposure double,      -- sum of weights [fraction of equity] <- weights.target_weight, panel.mark_price, panel.trade_price
    turnover double,          -- sum of absolute trades [fraction of equity]
    -- <- weights.target_weight, panel.mark_price, panel.trade_price
    fee_paid double,          -- exchange fees [quote currency] <- weights.target_weight, panel.trade_price, settings.costs
    spread_paid double,       -- half-spreads [quote currency] <- weights.target_weight, panel.trade_price, settings.costs
    slippage_paid double,     -- slippage [quote currency] <- weights.target_weight, panel.trade_price, settings.costs
    funding_paid double,      -- funding, negative where received [quote currency]
    -- <- weights.target_weight, panel.funding_rate, panel.mark_price
    borrow_paid double,       -- borrowing of shorts [quote currency] <- weights.target_weight, panel.mark_price, settings.costs
    impact_paid double,       -- impact of trades on their own prices [quote currency]
    -- <- weights.target_weight, panel.trade_price, panel.quote_volume, settings.costs
    delisting_paid double,    -- positions written off with dead assets [quote currency]
    -- <- weights.target_weight, panel.mark_price, settings.backtest
    interest_paid double,     -- interest, negative where received [quote currency]
    -- <- weights.target_weight, panel.mark_price, settings.costs
    dividend_received double  -- dividends, negative where a short paid them [quote currency]
    -- <- weights.target_weight, panel.dividend
);
