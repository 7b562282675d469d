//! `lookout doctor` and the log explain failed connections, against a real Apache Kafka.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use lookout_broker::{BrokerCheck, KafkaSink, diagnose};
use lookout_config::{Brokers, KafkaSettings, Secret};
use lookout_tests::{isolation::lock_module, kafka::KafkaServer};

const PATIENCE: Duration = Duration::from_secs(600);

/// A certificate authority and the certificates that it has signed, in a folder.
struct Authority {
    dir: tempfile::TempDir,
}

impl Authority {
    fn new() -> anyhow::Result<Self> {
        let authority = Self { dir: tempfile::tempdir()? };
        authority.openssl(&[
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-keyout",
            "ca.key",
            "-out",
            "ca.pem",
            "-days",
            "2",
            "-subj",
            "/CN=the-authority",
        ])?;
        Ok(authority)
    }

    fn openssl(&self, arguments: &[&str]) -> anyhow::Result<()> {
        let output = Command::new("openssl").args(arguments).current_dir(self.dir.path()).output()?;
        ensure!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    }

    /// Signs a certificate for `name` (`DNS:...` or `IP:...`) within `dates`; key and certificate in one PEM
    /// file.
    fn sign(&self, file: &str, name: &str, dates: &[&str]) -> anyhow::Result<PathBuf> {
        let (key, request, certificate) =
            (format!("{file}.key"), format!("{file}.csr"), format!("{file}.crt"));
        self.openssl(&[
            "req",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-keyout",
            &key,
            "-out",
            &request,
            "-subj",
            &format!("/CN={file}"),
        ])?;
        fs::write(self.path("extensions"), format!("subjectAltName={name}\n"))?;
        fs::write(self.path("index.txt"), "")?;
        fs::write(self.path("serial"), "01\n")?;
        fs::write(
            self.path("ca.cnf"),
            "[ca]\ndefault_ca=it\n[it]\ndatabase=index.txt\nserial=serial\nnew_certs_dir=.\ndefault_md=sha256\n\
             policy=any\nunique_subject=no\n[any]\ncommonName=supplied\n",
        )?;
        let sign = [
            "ca",
            "-batch",
            "-config",
            "ca.cnf",
            "-cert",
            "ca.pem",
            "-keyfile",
            "ca.key",
            "-extfile",
            "extensions",
            "-in",
            &request,
            "-out",
            &certificate,
            "-notext",
        ];
        self.openssl(&[&sign[..], dates].concat())?;
        let both = fs::read_to_string(self.path(&key))? + &fs::read_to_string(self.path(&certificate))?;
        let path = self.path(&format!("{file}.pem"));
        fs::write(&path, both)?;
        Ok(path)
    }

    fn path(&self, file: &str) -> PathBuf {
        self.dir.path().join(file)
    }
}

fn tls(kafka: &KafkaServer, client: &[(&str, &Path)]) -> KafkaSettings {
    let mut settings = kafka.settings("tls");
    settings.client = vec![("security.protocol".into(), Secret::new("ssl"))];
    settings
        .client
        .extend(client.iter().map(|(key, path)| ((*key).into(), Secret::new(path.to_string_lossy()))));
    settings
}

/// Returns the doctor's advice; checks that the sink's health has the same advice.
fn advice(settings: &KafkaSettings) -> anyhow::Result<String> {
    let BrokerCheck { problem, unreached, .. } = diagnose(settings, Duration::from_secs(20))?;
    let problem = problem.or(unreached.into_iter().next()).context("the doctor found no problem")?;
    let sink = KafkaSink::start(settings)?;
    let deadline = Instant::now() + PATIENCE;
    while !sink.health().last_error.is_some_and(|error| error.contains(&problem.advice)) {
        ensure!(Instant::now() < deadline, "{problem:?}, but in health {:?}", sink.health().last_error);
        thread::sleep(Duration::from_millis(20));
    }
    Ok(format!("{}; {}", problem.what, problem.advice))
}

#[track_caller]
fn assert_contains(advice: anyhow::Result<String>, signs: &[&str]) {
    let advice = advice.unwrap();
    assert!(signs.iter().all(|sign| advice.contains(sign)), "{signs:?} in {advice}");
}

#[tokio::test]
async fn failed_connections_are_explained_with_advice() -> anyhow::Result<()> {
    let _module = lock_module(module_path!());
    let authority = Authority::new()?;
    let past = ["-startdate", "20200101000000Z", "-enddate", "20210101000000Z"];
    let good = authority.sign("good", "IP:127.0.0.1", &["-days", "1"])?;
    let expired = authority.sign("expired", "IP:127.0.0.1", &past)?;
    let elsewhere = authority.sign("elsewhere", "DNS:kafka.example", &["-days", "1"])?;
    let ca = authority.path("ca.pem");
    let with_ca: [(&str, &Path); 1] = [("ssl.ca.location", &ca)];

    let mut kafka = KafkaServer::start_with_tls(&good, &ca, false)?;
    assert_eq!(diagnose(&tls(&kafka, &with_ca), PATIENCE)?.problem, None);
    assert_contains(advice(&tls(&kafka, &[])), &["CN=the-authority", "ssl.ca.location"]);
    let mut plain = tls(&kafka, &[]);
    plain.client.clear();
    // Kafka closes the connection, with or without the alert by which librdkafka recognizes TLS.
    assert_contains(advice(&plain), &["TLS", "security.protocol"]);
    // The inner listener has no TLS.
    let mut inner = tls(&kafka, &with_ca);
    inner.brokers = Brokers::Servers(kafka.inner().context("no inner listener")?);
    assert_contains(advice(&inner), &["does not speak TLS", "security.protocol"]);
    let missing = diagnose(&tls(&kafka, &[("ssl.ca.location", Path::new("/nowhere/ca.pem"))]), PATIENCE);
    let missing = missing.unwrap_err().to_string();
    assert!(missing.contains("ssl.ca.location: `/nowhere/ca.pem` cannot be read"), "{missing}");

    kafka.use_certificate(&expired, &ca, false)?;
    assert_contains(advice(&tls(&kafka, &with_ca)), &["expired on Jan  1 00:00:00 2021", "renew"]);
    kafka.use_certificate(&elsewhere, &ca, false)?;
    assert_contains(advice(&tls(&kafka, &with_ca)), &["is for `kafka.example`, not for `127.0.0.1`"]);
    kafka.use_certificate(&good, &ca, true)?;
    assert_contains(
        advice(&tls(&kafka, &with_ca)),
        &["requires a client certificate", "ssl.certificate.location"],
    );
    let with_both: [(&str, &Path); 3] =
        [("ssl.ca.location", &ca), ("ssl.certificate.location", &good), ("ssl.key.location", &good)];
    assert_eq!(diagnose(&tls(&kafka, &with_both), PATIENCE)?.problem, None);
    Ok(())
}

#[tokio::test]
async fn an_unreachable_advertised_address_is_explained() -> anyhow::Result<()> {
    let _module = lock_module(module_path!());
    let kafka = KafkaServer::start_advertised("127.0.0.1:1")?;
    assert_contains(advice(&kafka.settings("away")), &["127.0.0.1:1", "advertised.listeners"]);
    Ok(())
}
