"""What the attention looked at, whether it deserves trust, and classical statistics beside it; on frames and arrays alone.

``snapshot`` a day's attention, ``attention_means`` what it averages, ``snapshot_checks`` its collapse and drift,
``snapshot_store`` the files, ``stored_edges`` many days of them added up. ``attribution`` three views of one model,
``evidence`` those beside ``lead_lag`` (permutation test, with its ``pair_scores``) and ``lead_lag_tests`` (Granger,
Hayashi-Yoshida), ``leaders`` who leads whom, ``lead_gate`` the gate in front of a leader's name. ``forecast_quality`` ICs,
``forecast_tests`` accuracy and decay, ``forecast_buckets`` the cross-section, ``regime_correlation`` correlation by regime,
``attention_overview`` everything that pictures and the page show.
"""
