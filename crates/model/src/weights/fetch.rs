//! Published weights, from the cache or over HTTP.

use std::{
    env,
    io::Read,
    net::IpAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use sha2::{Digest, Sha256};

use super::{
    FetchError, Published, WeightsError,
    part::{Part, sweep},
};

/// URL of the folder with torchvision's files.
const BASE: &str = "https://download.pytorch.org/models";

/// Progress of a download.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Bytes received so far.
    pub received: u64,
    /// Size of the file in bytes, if the server reports it.
    pub total: Option<u64>,
}

/// Settings of downloads.
#[derive(Debug, Clone)]
pub struct Fetch {
    /// URL of the folder with the files.
    pub base: String,
    /// Timeout for the name resolution, the connection, the response and each read of data.
    pub patience: Duration,
}

impl Default for Fetch {
    /// Uses the URL in `LOOKOUT_WEIGHTS_URL`, or that of torchvision's server if it is not set.
    fn default() -> Self {
        let base = env::var("LOOKOUT_WEIGHTS_URL").ok().filter(|url| !url.is_empty());
        Self { base: base.unwrap_or_else(|| BASE.to_owned()), patience: Duration::from_secs(30) }
    }
}

impl Fetch {
    /// Returns the path of a published file in the cache folder `cache_dir`. A cached file is used if its
    /// SHA-256 starts with the published digits. Otherwise the file is downloaded, and `progress` is called as
    /// data arrives. Size and SHA-256 are checked before the file is moved into the cache.
    ///
    /// # Errors
    ///
    /// The file cannot be downloaded, or is not the published one. The error names the path at which to put a
    /// file that was downloaded manually.
    pub fn published(
        &self,
        published: &Published,
        cache_dir: &Path,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<PathBuf, WeightsError> {
        let place = published.place(cache_dir);
        if let Some(folder) = place.parent() {
            sweep(folder);
        }
        match published.is_whole(&place) {
            Ok(true) => return Ok(place),
            Ok(false) => {
                let path = place.display();
                tracing::warn!(%path, "cached weights are damaged and are fetched again");
            }
            // The file does not exist or cannot be read. If the path is unusable, the download reports it.
            Err(_) => {}
        }
        let url = format!("{}/{}", self.base.trim_end_matches('/'), published.file);
        tracing::info!(url = without_user(&url), "fetching weights");
        match self.fetch(&url, published, &place, progress) {
            Ok(()) => Ok(place),
            Err(source) => Err(WeightsError::Fetch { url: without_user(&url), place, source }),
        }
    }

    fn fetch(
        &self,
        url: &str,
        published: &Published,
        place: &Path,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<(), FetchError> {
        // A proxy cannot reach servers on this machine.
        let proxy = if is_local(url) { None } else { ureq::Proxy::try_from_env() };
        let agent = ureq::Agent::config_builder()
            .proxy(proxy)
            .timeout_resolve(Some(self.patience))
            .timeout_connect(Some(self.patience))
            .timeout_recv_response(Some(self.patience))
            .timeout_per_read(Some(self.patience))
            .build()
            .new_agent();
        let mut answer = agent.get(url).call().map_err(|error| match error {
            ureq::Error::StatusCode(status) => FetchError::Status { status },
            error => FetchError::Http(error),
        })?;
        let total = answer.body().content_length();
        let sizes = published.bytes();
        let wrong_size = |received| FetchError::Size { received, expected: published.size_mib };
        if let Some(total) = total.filter(|total| !sizes.contains(total)) {
            return Err(wrong_size(total));
        }
        let part = Part::beside(place).map_err(FetchError::Keep)?;
        let mut body = answer.body_mut().as_reader();
        let mut digest = Sha256::new();
        let mut received = 0_u64;
        let mut buffer = vec![0; 1 << 16];
        loop {
            let count = body.read(&mut buffer).map_err(|source| FetchError::Broken { received, source })?;
            if count == 0 {
                break;
            }
            received += count as u64;
            // Checked before the data is written, so that a server that never stops sending does not fill the
            // disk.
            if received > *sizes.end() {
                return Err(wrong_size(received));
            }
            digest.update(&buffer[..count]);
            part.write_all(&buffer[..count]).map_err(FetchError::Keep)?;
            progress(Progress { received, total });
        }
        if !sizes.contains(&received) {
            return Err(wrong_size(received));
        }
        let (found, expected) = (hex::encode(digest.finalize()), published.digest_prefix());
        if !found.starts_with(expected) {
            return Err(FetchError::Digest { expected, found });
        }
        part.keep().map_err(FetchError::Keep)
    }
}

/// Returns the parts of a URL: scheme, user with `@`, host with port, and path.
fn parts(url: &str) -> Option<(&str, &str, &str, &str)> {
    let (scheme, rest) = url.split_once("://")?;
    let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let (user, host) = host.split_at(host.rfind('@').map_or(0, |at| at + 1));
    Some((scheme, user, host, path))
}

/// Returns a URL without the user and password that it may contain.
fn without_user(url: &str) -> String {
    parts(url).map_or_else(|| url.to_owned(), |(scheme, _, host, path)| format!("{scheme}://{host}{path}"))
}

fn is_local(url: &str) -> bool {
    parts(url).is_some_and(|(_, _, host, _)| {
        let host = host.rsplit_once(':').map_or(host, |(host, _)| host);
        host == "localhost" || host.trim_matches(['[', ']']).parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
    })
}
