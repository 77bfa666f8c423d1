"""The page's HTML and CSS. Self-contained: no script, no font, no image from elsewhere; prints on A4."""

__all__ = ["PAGE"]

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
<title>{{ r.title }}: {{ r.experiment }}, {{ r.first }} to {{ r.last }}</title>
<style>
:root { --ink:#20242a; --muted:#6b7480; --line:#dfe3e8; --tint:#f5f7f9; --accent:#0b5cad; --good:#16796f; --bad:#b5480f; }
* { box-sizing:border-box; }
html { -webkit-text-size-adjust:100%; }
body { margin:0; background:#fff; color:var(--ink); font:15px/1.5 "Helvetica Neue",Helvetica,Arial,"DejaVu Sans",sans-serif; }
main { max-width:1020px; margin:0 auto; padding:34px 28px 60px; }
header { border-bottom:2px solid var(--ink); padding-bottom:14px; margin-bottom:22px; }
h1 { font-size:25px; line-height:1.2; margin:0 0 4px; letter-spacing:-.01em; }
h2 { font-size:17px; margin:38px 0 4px; padding-top:12px; border-top:1px solid var(--line); }
h3 { font-size:14px; margin:20px 0 2px; }
p { margin:6px 0; max-width:110ch; }
svg text { font-family:inherit !important; }
.sub, .note, figcaption { color:var(--muted); font-size:13px; }
.note { margin-top:2px; }
.verdict { border-left:5px solid var(--muted); background:var(--tint); padding:14px 20px 12px; margin:0 0 18px; }
.verdict.better { border-color:var(--good); } .verdict.worse { border-color:var(--bad); }
.verdict strong { font-size:19px; line-height:1.3; display:block; margin-bottom:4px; }
.verdict ul { margin:6px 0 0; padding-left:18px; } .verdict li { margin:2px 0; max-width:86ch; }
.cards { display:grid; grid-template-columns:repeat(6,1fr); gap:10px; margin:14px 0 8px; }
.card { border:1px solid var(--line); padding:9px 12px 8px; }
.card b { display:block; font-size:20px; font-variant-numeric:tabular-nums; letter-spacing:-.01em; }
.card span { color:var(--muted); font-size:12px; }
.card i { display:block; font-style:normal; color:var(--muted); font-size:12px; font-variant-numeric:tabular-nums;
  min-height:1.2em; }
table { border-collapse:collapse; width:100%; margin:10px 0 4px; font-size:13.5px; font-variant-numeric:tabular-nums; }
th { text-align:right; font-weight:600; color:var(--muted); border-bottom:1.5px solid var(--ink); padding:4px 8px;
  vertical-align:bottom; }
td { text-align:right; border-bottom:1px solid var(--line); padding:4px 8px; vertical-align:top; }
th.l, td.l { text-align:left; } td.wrap { white-space:normal; } tr.own td { font-weight:600; background:#eef4fb; }
.up { color:var(--good); } .down { color:var(--bad); }
.dense { overflow-x:auto; } .dense table { font-size:11px; } .dense th, .dense td { padding:2px 3px; }
.dense td { white-space:nowrap; }
.scroll { overflow-x:auto; } .scroll td { white-space:nowrap; }
.scroll td.wrap { white-space:normal; }
figure { margin:10px 0 4px; } figure svg { width:100%; height:auto; display:block; }
.pair { display:grid; grid-template-columns:1fr 1fr; gap:26px; align-items:start; } .pair > div { min-width:0; }
dl { display:grid; grid-template-columns:max-content 1fr; gap:2px 18px; font-size:13px; margin:8px 0; }
dt { color:var(--muted); } dd { margin:0; } code, .hash { font:12px ui-monospace,"DejaVu Sans Mono",Menlo,monospace;
  overflow-wrap:anywhere; }
.yes { color:var(--good); font-weight:600; } .no { color:var(--muted); }
.missing { color:var(--muted); font-style:italic; }
@media (max-width:760px) { .cards { grid-template-columns:repeat(2,1fr); } .pair { grid-template-columns:1fr; } main {
  padding:18px 14px 40px; } }
@media print {
  body { font-size:11.5px; } main { max-width:none; padding:0; } h2 { margin-top:20px; }
  h2, h3, .note { break-after:avoid; } figure, tr, .note, .verdict, .cards, .scroll { break-inside:avoid; }
  .cards { grid-template-columns:repeat(6,1fr); } .pair { grid-template-columns:1fr 1fr; } .scroll { overflow:visible; }
  .scroll table { font-size:9.5px; } .dense table { font-size:7.2px; } .dense th, .dense td { padding:1px 2px; }
  .dense { overflow:visible; } td.wrap { min-width:110px; } @page { size:A4; margin:12mm; }
}
</style>
</head>
<body>
<main>
<header>
  <h1>{{ r.title }}: {{ r.experiment }}</h1>
  <div class="sub">{{ r.first }} to {{ r.last }} ({{ "%.0f"|format(r.days) }} days, UTC) &middot; {{ r.feed }} candles
  &middot;
    {{ r.symbols|length }} assets &middot; every figure net of costs unless it says gross</div>
</header>

<section class="verdict {{ r.verdict.stance }}" aria-label="Verdict">
  <strong>{{ r.verdict.headline }}</strong>
  <ul>{% for sentence in r.verdict.sentences %}<li>{{ sentence }}</li>{% endfor %}
  {% for sentence in r.notes %}<li>{{ sentence }}</li>{% endfor %}</ul>
</section>

<div class="cards">
{% for card in cards %}<div class="card"><span>{{ card.label }}</span><b>{{ card.value }}</b><i>{{ card.beside }}</i></div>
{% endfor %}</div>

<h2>Result beside its baselines</h2>
<p class="note">Sharpe ratios are annual (hourly returns, 8,760 a year) with {{ "%.0f"|format(100 * r.confidence) }}%
  intervals from a stationary
bootstrap ({{ r.bootstrap_samples }} samples, blocks of {{ r.bootstrap_block_hours }} hours on average). IC: time-series
  correlation of forecast and
outcome per asset at the {{ horizon }}-hour horizon, averaged. Turnover counts one-way trades once.</p>
<div class="scroll"><table>
<tr>{% for column in headline_columns %}<th{% if loop.first %} class="l"{% endif %}>{{ column }}</th>{% endfor %}<th>Sharpe
  less {{ words(r.benchmark) }}</th></tr>
{% for line in headline_lines %}<tr{% if line.own %}
  class="own"{% endif %}>{% for cell in line.cells %}<td{% if loop.first %}
  class="l"{% endif %}>{{ cell }}</td>{% endfor %}<td>{{ line.difference }}</td></tr>
{% endfor %}</table></div>

<h3>Equity</h3>
<figure>{{ svg.equity }}</figure>
<h3>Under water</h3>
<figure>{{ svg.underwater }}</figure>
<h3>Rolling Sharpe ratio</h3>
<figure>{{ svg.rolling }}</figure>

<h2>Where it came from, and what it cost</h2>
<div class="pair">
<div><h3>Gross to net, share of capital</h3><figure>{{ svg.costs }}</figure>
<p class="note">Fees, half-spread and slippage are charged on every trade; funding on
  perpetuals{% if r.missing_funding_settlements %} 
({{ r.missing_funding_settlements }} settlements are missing and charged as zero){% endif %}; borrow on shorts of
  shares.</p></div>
<div><h3>Net contribution by asset, share of capital</h3><figure>{{ svg.contribution }}</figure></div>
</div>
<h3>By venue</h3>{{ tables.venues }}
<h3>By asset</h3>{{ tables.assets }}
<h3>Exposure and turnover of {{ words(r.subject) }}</h3>
<figure>{{ svg.exposure }}</figure>
{% if svg.belief %}<h3>How much of the forecasts of {{ words(believing) }} was believed</h3>
<p class="note">Earlier forecasts whose horizon has passed move this share, from a prior of {{ prior }} less a margin for doubt;
the mean over assets is shown. What a forecast promises beyond its cost is what is traded.</p>
<figure>{{ svg.belief }}</figure>{% endif %}

<h2>How sure is it</h2>
<p class="note">Daily returns. The deflated ratio asks for more than the best of {{ r.significance.trials }} worthless
trials would show: the variants that tuning tried, and those declared in <code>backtest.trials</code>.</p>
{{ tables.significance }}
<h3>Beside each baseline</h3>
{{ tables.beside }}

<h2>Robustness</h2>
<div class="pair">
<div><h3>Same targets, other costs, delays and capital</h3>{{ tables.sensitivity }}
<p class="note">Capital is {{ "{:,.0f}".format(r.capital) }}. Impact: a trade of one hour's volume costs one hourly standard
deviation, smaller ones in proportion to the square root.</p></div>
<div><h3>By regime</h3>{{ tables.regimes }}</div>
</div>
<h3>Worst days</h3>{{ tables.worst }}
<h3>Years</h3>{{ tables.years }}
<h3>Months</h3>{{ tables.months }}

<h2>What the model looks at</h2>
{{ attention_section }}

<h3>How good the forecasts were</h3>
<p class="note">Out of sample, at the time they were made. IC: time-series correlation per asset, averaged; intervals by
  block bootstrap.</p>
{{ tables.forecasts }}
<h3>Which forecast is more accurate</h3>
<p class="note">Diebold-Mariano tests on squared errors in units of each asset's deviation, averaged over assets row by row, with
  Newey-West errors over overlapping horizons and the small-sample correction of Harvey, Leybourne and Newbold. Negative: the
  first has the smaller error. No forecast means zero for every asset.</p>
{{ tables.accuracy }}
<h3>How long a forecast holds</h3>
<p class="note">Correlation of the {{ horizon }}-hour forecast with what the next hours brought, from the fill on; Newey-West
  errors.</p>
{{ tables.decay }}

<h2>Models over time</h2>
{% if svg.retrains %}<p class="note">Every retrain with its reason{% if regimes_known %}, over the regime windows (a window
  starts on the day its regime is confirmed){% endif %}.</p>
<figure>{{ svg.retrains }}</figure>{% endif %}
{{ tables.plan }}

<h2>All metrics</h2>
{{ tables.metrics }}
{% for kind, table in tables.parts.items() %}
<h3>By {{ kind }}</h3>
{% if kind == "venue" %}<p class="note">What an account would have earned that held these positions alone, in the same shares of
  equity; costs and turnover are shares of the equity before each hour, added up.</p>{% endif %}
{{ table }}
{% endfor %}
<p class="note">Returns, ratios and exposures of {{ words(r.subject) }}; alpha, beta and information ratio beside
  {{ words(r.benchmark) }}. A year, Calmar: from 30 days on. VaR and CVaR are of days, from 20 days on. Over a
  single month a Sharpe ratio of plus or minus 7 is within luck.</p>

<h2>Quality of the candles</h2>
{{ tables.quality }}

<h2>How to reproduce this page</h2>
<dl>{% for name, value in r.hashes.items() %}<dt>{{ words(name) }}</dt><dd class="hash">{{ value }}</dd>
{% endfor %}</dl>
<p class="note">Equal hashes give this page again, byte for byte. The same numbers for machines: <code>report.json</code>,
  <code>returns.parquet</code>.</p>
</main>
</body>
</html>
"""
