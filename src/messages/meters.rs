//! Counters and gauges with one writer each, and latency histograms handed over.
