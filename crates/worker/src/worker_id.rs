//! The worker's id if its pipeline does not set one.

use std::fs;

use lookout_schema::WorkerId;

/// Returns the worker's id: the pipeline's, or the host's name without the characters that an id cannot contain.
pub fn worker_id(set: Option<&WorkerId>) -> WorkerId {
    set.cloned().unwrap_or_else(|| {
        let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        from_host(host.trim())
    })
}

fn from_host(host: &str) -> WorkerId {
    let fits = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let plain: String = host.chars().filter(fits).collect();
    let trimmed: String = plain.trim_start_matches(['.', '_', '-']).chars().take(64).collect();
    trimmed.parse().unwrap_or_else(|_| unnamed())
}

fn unnamed() -> WorkerId {
    #[expect(clippy::expect_used, reason = "the text is a constant, which a test checks")]
    "worker".parse().expect("`worker` is a valid id")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_host_name_gives_a_worker_id() {
        assert_eq!(from_host("edge-1.plant").as_str(), "edge-1.plant");
        assert_eq!(from_host("-ä edge").as_str(), "edge");
        assert_eq!(from_host(&"x".repeat(100)).as_str().len(), 64);
        assert_eq!(from_host("").as_str(), "worker");
    }
}
