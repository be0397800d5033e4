//! What the system says of this process: its memory, its time, its files.
//!
//! Spec: proc(5): `stat`, `status`, `limits`, `fd`. Where there is no /proc, it says nothing.

use std::fs;

use crate::api::metrics::Resources;

use super::socket;

/// Linux counts a process's time for `stat` in hundredths of a second, on every machine that it is
/// usually built for.
const TICKS_A_SECOND: f64 = 100.0;

/// All that can be known now.
pub(super) fn resources(started_s: f64) -> Resources {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let files = fs::read_dir("/proc/self/fd").map(Iterator::count).ok();
    let files_max = Some(socket::files_max()).filter(|max| *max < usize::MAX);
    let kibibytes = |name| number_of(&status, name).map(|kibibytes| kibibytes * 1024);
    Resources {
        started_s,
        resident_bytes: kibibytes("VmRSS:"),
        virtual_bytes: kibibytes("VmSize:"),
        cpu_s: cpu_s(&stat),
        // The list that is being read is one of them.
        open_files: files.and_then(|files| u64::try_from(files.saturating_sub(1)).ok()),
        open_files_max: files_max.and_then(|max| u64::try_from(max).ok()),
        threads: number_of(&status, "Threads:"),
    }
}

/// The number after this word, at the beginning of a line.
fn number_of(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Fields 14 and 15, counted after the name, which may hold anything: time in user and kernel mode.
fn cpu_s(stat: &str) -> Option<f64> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut times = after_name.split_whitespace().skip(11);
    let user: u32 = times.next()?.parse().ok()?;
    let system: u32 = times.next()?.parse().ok()?;
    Some((f64::from(user) + f64::from(system)) / TICKS_A_SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_and_spaces_is_skipped() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194304 1 0 0 0 150 25 0 0 20 0 3 0 9";
        let cpu_s = cpu_s(stat).expect("the times");
        assert!((cpu_s - 1.75).abs() < 1e-9, "{cpu_s}");
        assert_eq!(super::cpu_s(""), None);
    }

    #[test]
    fn a_number_is_found_by_the_word_before_it() {
        let status = "Name:\tcampon\nVmRSS:\t    6820 kB\nThreads:\t3\n";
        assert_eq!(number_of(status, "VmRSS:"), Some(6820));
        assert_eq!(number_of(status, "Threads:"), Some(3));
        assert_eq!(number_of(status, "VmSize:"), None);
    }

    #[test]
    fn this_very_process_is_found() {
        let found = resources(0.0);
        assert!(
            found.resident_bytes > Some(0) && found.open_files > Some(0),
            "{found:?}"
        );
        assert!(
            found.threads > Some(0) && found.cpu_s.is_some(),
            "{found:?}"
        );
    }
}
