//! `[[webhook]]`: HTTP addresses that alerts are posted to.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    time::Duration,
};

use lookout_schema::AlertLevel;
use url::Url;

use crate::{
    Secret,
    reader::{Section, not_one_of},
};

/// An HTTP address that alerts are posted to.
#[derive(Debug, Clone, PartialEq)]
pub struct WebhookSettings {
    /// Name in metrics, and the key of its outbox in the store.
    pub name: String,
    /// A `Secret` because it may contain a token.
    pub url: Secret,
    /// Key that signs the body of the requests.
    pub secret: Option<Secret>,
    /// Minimum level of the alerts that are posted.
    pub level: AlertLevel,
    /// Rules whose alerts are posted. If empty, alerts of all rules are.
    pub rules: Vec<String>,
    /// PEM file with the certificate authorities that are trusted instead of the public ones.
    pub ca_file: Option<PathBuf>,
    /// Time after which the delivery of an alert is given up.
    pub give_up: Duration,
}

/// Reads all webhooks. Returns `None` if a webhook is invalid.
pub(super) fn read_all(
    root: &Section<'_, '_>,
    rules: &BTreeSet<&str>,
    base: &Path,
) -> Option<Vec<WebhookSettings>> {
    let mut hooks: Vec<WebhookSettings> = Vec::new();
    let mut right = true;
    for section in root.sections("webhook").unwrap_or_default() {
        let hook = WebhookSettings::read(&section, rules, base);
        if let Some(hook) = &hook
            && hooks.iter().any(|other| other.name == hook.name)
        {
            let what = format!("another webhook has the same name `{}`; give each its own `name`", hook.name);
            section.note("name", what);
        }
        section.finish();
        right &= hook.is_some();
        hooks.extend(hook);
    }
    right.then_some(hooks)
}

impl WebhookSettings {
    fn read(section: &Section<'_, '_>, rules: &BTreeSet<&str>, base: &Path) -> Option<Self> {
        section.need("url", "`url` is required: the address that alerts are posted to");
        let url = section.text("url");
        // The error does not show the address, because it may contain a secret.
        let is_url = |url: &String| {
            Url::parse(url).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
        };
        let sound = url.as_ref().is_some_and(is_url);
        if url.is_some() && !sound {
            section.note("url", "this is not a valid address; use `https://HOST/PATH`");
        }
        let levels = AlertLevel::ALL.map(|level| (level.as_str(), level));
        let names = section.texts("rules").unwrap_or_default();
        for name in names.iter().filter(|name| !rules.contains(name.as_str())) {
            section.note("rules", not_one_of(name, rules.iter().copied()));
        }
        let name = section.text("name").unwrap_or_else(|| "webhook".into());
        if name.is_empty() || name.len() > 64 {
            section.note("name", "a name must have 1 to 64 bytes");
        }
        let give_up = section.integer("give_up_s", 1..=604_800).unwrap_or(3600);
        Some(Self {
            name,
            secret: section.text("secret").map(Secret::new),
            ca_file: section.text("ca_file").map(|file| base.join(file)),
            level: section.choice("level", &levels).unwrap_or(AlertLevel::Info),
            rules: names,
            give_up: Duration::from_secs(give_up),
            url: Secret::new(url.filter(|_| sound)?),
        })
    }

    /// Returns whether alerts of this rule and level are posted.
    pub fn wants(&self, rule: &str, level: AlertLevel) -> bool {
        level >= self.level && (self.rules.is_empty() || self.rules.iter().any(|name| name == rule))
    }
}
