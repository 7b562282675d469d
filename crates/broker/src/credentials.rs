//! The password of the Kafka user, in a file that may change while clients run.

use std::{
    ffi::{CStr, CString},
    path::PathBuf,
    sync::Arc,
    thread,
    time::Duration,
};

use lookout_config::{KafkaSettings, Secret};
use rdkafka::{ClientConfig, bindings, types::RDKafka};

use crate::BrokerError;

/// The interval at which the file is read again.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A larger file holds something else.
const MAX_BYTES: u64 = 64 * 1024;

/// Where the clients take the user's password from.
#[derive(Debug, Clone)]
pub(crate) struct Credentials(Option<Arc<Source>>);

#[derive(Debug)]
struct Source {
    path: PathBuf,
    user: String,
}

impl Credentials {
    pub(crate) fn new(settings: &KafkaSettings) -> Self {
        let value_of =
            |key: &str| settings.client.iter().find(|(name, _)| name == key).map(|(_, value)| value);
        let user = value_of("sasl.username").map_or("", Secret::reveal).to_owned();
        Self(settings.password_file.clone().map(|path| Arc::new(Source { path, user })))
    }

    /// Returns the password in the file; `None` if the password is not in a file.
    ///
    /// # Errors
    /// The file cannot be read, or it holds no password.
    pub(crate) fn password(&self) -> Result<Option<Secret>, BrokerError> {
        let failed = |reason| BrokerError::PasswordFile { reason };
        self.0.as_ref().map(|source| source.read().map_err(failed)).transpose()
    }

    /// Replaces the password in `config` by the one in the file, if there is one.
    pub(crate) fn renew(&self, config: &mut ClientConfig) {
        if let Ok(Some(password)) = self.password() {
            config.set("sasl.password", password.reveal());
        }
    }

    /// Gives `client` the password in the file each time it changes, for as long as the client exists. `native` returns
    /// the client's handle.
    pub(crate) fn follow<C: Send + Sync + 'static>(&self, client: &Arc<C>, native: fn(&C) -> *mut RDKafka) {
        let Some(source) = self.0.clone() else { return };
        let client = Arc::downgrade(client);
        let watch = move || {
            let mut known = None;
            while client.strong_count() > 0 {
                // A file that is being replaced may be missing or empty for a moment.
                if let Ok(password) = source.read()
                    && known.as_ref() != Some(&password)
                {
                    let Some(client) = client.upgrade() else { return };
                    let result = set_credentials(native(&client), &source.user, &password);
                    let file = source.path.display();
                    match result {
                        Ok(()) if known.is_some() => {
                            tracing::info!(%file, "the Kafka user's password has changed, new connections use it");
                        }
                        Ok(()) => {}
                        Err(reason) => {
                            tracing::error!(%file, reason, "librdkafka rejected the Kafka user's new password");
                        }
                    }
                    known = Some(password);
                }
                thread::sleep(LOOK_EVERY);
            }
        };
        if let Err(error) = thread::Builder::new().name("kafka-password".into()).spawn(watch) {
            tracing::error!(
                %error,
                "the thread that watches the Kafka password file could not be started, \
                 a new password needs a restart"
            );
        }
    }
}

impl Source {
    fn read(&self) -> Result<Secret, String> {
        let path = self.path.display();
        let problem = |error| {
            format!("`{path}` cannot be read: {error}; correct the path, or let this user read the file")
        };
        if std::fs::metadata(&self.path).map_err(problem)?.len() > MAX_BYTES {
            return Err(format!("`{path}` is larger than {MAX_BYTES} bytes, so it is not a password file"));
        }
        let text = std::fs::read_to_string(&self.path).map_err(problem)?;
        // Editors and `echo` end a file with a line break, which does not belong to the password.
        let password =
            text.strip_suffix('\n').map_or(text.as_str(), |line| line.strip_suffix('\r').unwrap_or(line));
        match password {
            "" => Err(format!("`{path}` is empty; write the password into it")),
            password if password.contains('\0') => {
                Err(format!("`{path}` contains a NUL character, which a password must not contain"))
            }
            password => Ok(Secret::new(password)),
        }
    }
}

/// Sets the credentials for the next connections of a client. Open connections stay logged in.
#[expect(unsafe_code, reason = "rdkafka has no safe wrapper for this function of librdkafka")]
fn set_credentials(client: *mut RDKafka, user: &str, password: &Secret) -> Result<(), String> {
    let text = |text: &str| CString::new(text).map_err(|error| error.to_string());
    let (user, password) = (text(user)?, text(password.reveal())?);
    // SAFETY: the caller holds the client of this handle. librdkafka copies both strings, and locks the client's
    // configuration. The error is destroyed after its text was copied.
    unsafe {
        let error = bindings::rd_kafka_sasl_set_credentials(client, user.as_ptr(), password.as_ptr());
        if error.is_null() {
            return Ok(());
        }
        let reason = CStr::from_ptr(bindings::rd_kafka_error_string(error)).to_string_lossy().into_owned();
        bindings::rd_kafka_error_destroy(error);
        Err(reason)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::testing::settings;

    #[test]
    fn reads_the_password_without_the_final_line_break() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("password");
        let credentials =
            Credentials::new(&KafkaSettings { password_file: Some(path.clone()), ..settings("a:1") });
        let error = credentials.password().unwrap_err().to_string();
        assert!(error.contains("kafka.password_file") && error.contains("cannot be read"), "{error}");
        for (text, password) in
            [("one", "one"), ("two\n", "two"), ("three\r\n", "three"), (" a b\n\n", " a b\n")]
        {
            fs::write(&path, text).unwrap();
            assert_eq!(credentials.password().unwrap().unwrap().reveal(), password, "{text:?}");
        }
        for (text, part) in
            [("", "empty"), ("\n", "empty"), ("a\0b", "NUL"), (&*"x".repeat(65_537), "larger")]
        {
            fs::write(&path, text).unwrap();
            let error = credentials.password().unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }
}
