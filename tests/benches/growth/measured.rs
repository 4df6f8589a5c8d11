//! What was measured with so many hosts, as a table, as CSV, and as lines of a plot.

/// One measurement.
#[derive(Debug, Clone)]
pub(crate) struct Measured {
    pub hosts: usize,
    /// Of one core, by the scheduler's own count.
    pub cpu_percent: f64,
    pub agent_second_us: f64,
    pub resident_mib: f64,
    /// A command's round trip over REST, durable at both ends, one after another.
    pub command_p50_ms: f64,
    pub command_p99_ms: f64,
    /// A command to every host, 64 under way at once.
    pub all_s: f64,
    pub all_p99_ms: f64,
    /// From the kill until the last host was back.
    pub back_s: f64,
}

impl Measured {
    pub(crate) const HEAD: &'static str = "\
| hosts | CPU, % of a core | µs per agent-second | resident, MiB | a command, p50, p99 | to all, each p99 | killed: all back |
| --- | --- | --- | --- | --- | --- | --- |";

    /// A row under [`Self::HEAD`].
    pub(crate) fn row(&self) -> String {
        format!(
            "| {} | {:.2} | {:.1} | {:.0} | {:.1}, {:.1} ms | {:.2} s, {:.0} ms | {:.2} s |",
            self.hosts,
            self.cpu_percent,
            self.agent_second_us,
            self.resident_mib,
            self.command_p50_ms,
            self.command_p99_ms,
            self.all_s,
            self.all_p99_ms,
            self.back_s
        )
    }
}

/// The measurements with a head line.
pub(crate) fn csv(points: &[Measured]) -> String {
    let head = "hosts,cpu_percent,agent_second_us,resident_mib,command_p50_ms,command_p99_ms,all_s,all_p99_ms,back_s\n";
    points.iter().fold(head.to_owned(), |csv, point| {
        let Measured { hosts, cpu_percent, agent_second_us, resident_mib, .. } = point;
        let Measured { command_p50_ms, command_p99_ms, all_s, all_p99_ms, back_s, .. } = point;
        csv + &format!(
            "{hosts},{cpu_percent:.3},{agent_second_us:.2},{resident_mib:.1},{command_p50_ms:.2},{command_p99_ms:.2},\
             {all_s:.3},{all_p99_ms:.1},{back_s:.3}\n"
        )
    })
}
