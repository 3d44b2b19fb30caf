"""Calibration: what a task's policy costs, and what others would cost, measured with the task's own history.

Read in this order:

    history         the outcomes of each variant, from messages
    stretches       the longest stretch without a change, so that a real collapse is not counted as a false alarm
    blocks          resampling that keeps failures in runs; quantiles: of the normal and the gamma distribution
    stock           what a simulation draws from: stable outcomes, and what falls make of them
    closed_loop     one simulated task: the real engine decides which variant it sees next
    alternatives    the policies that are compared
    measurement     simulates many tasks under each policy; estimates: figures with intervals
    recommendation  which policy to choose; fragment: its settings as TOML
    drawing         the figures as an SVG

``docs/calibration.md`` says what is assumed.  ``crl calibrate`` is the command.
"""
