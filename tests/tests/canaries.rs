//! Canary secrets, used by a control plane that really runs on servers that really run, are found nowhere: not in what
//! any process of this machine shows of itself while they are used, in no log, answer, file or row, and in no backup made
//! by the database's own means. In the same bytes, what is no secret is found.

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use muster_tests::{
    control_plane::{ControlPlane, Database, Settings},
    lab::{LabServer, Network, Release, Sudo, Variant},
    patience::SOON,
};
use russh::keys::{Algorithm, PrivateKey, key::safe_rng, ssh_key::LineEnding};
use serde_json::{Value, json};

const USER: &str = "deploy";
/// Between two looks at all processes. Each look takes longer than that.
const BETWEEN_LOOKS: Duration = Duration::from_millis(1);

/// What was given away, in every form it could show up in.
struct Canaries(Vec<Vec<u8>>);

impl Canaries {
    fn text(&mut self, name: &str) -> String {
        let text = format!("canary-{name}-{:08x}", std::process::id());
        self.0.push(text.clone().into_bytes());
        text
    }

    /// The lines of a private key that hold the secret part; those before hold the public one.
    fn lines(&mut self, pem: &str) {
        self.0.extend(pem.lines().skip(4).filter(|line| line.len() == 70).map(|line| line.as_bytes().to_vec()));
    }

    /// Fails where one of them is found, and where `marker`, which is no secret, is not.
    fn absent(&self, place: &str, bytes: &[u8], marker: &str) -> Result<()> {
        ensure!(holds(bytes, marker.as_bytes()), "{place}: not even {marker:?} is found in it");
        for canary in &self.0 {
            let shown = String::from_utf8_lossy(canary);
            // Bytes in a dump are written in digits.
            let found = holds(bytes, canary) || holds(bytes, hex::encode(canary).as_bytes());
            ensure!(!found, "{shown} is found in {place}");
        }
        Ok(())
    }
}

fn holds(bytes: &[u8], needle: &[u8]) -> bool {
    bytes.windows(needle.len()).any(|window| window == needle)
}

/// Looks at what every process shows of itself, again and again.
struct Onlooker {
    stop: Arc<AtomicBool>,
    looks: JoinHandle<HashSet<Vec<u8>>>,
}

impl Onlooker {
    fn start() -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let looks = std::thread::spawn(move || {
            let mut seen = HashSet::new();
            while !stopped.load(Ordering::Relaxed) {
                look(&mut seen);
                std::thread::park_timeout(BETWEEN_LOOKS);
            }
            seen
        });
        Self { stop, looks }
    }

    /// Everything that was seen.
    fn seen(self) -> Vec<u8> {
        self.stop.store(true, Ordering::Relaxed);
        let seen = self.looks.join().expect("looking does not panic");
        seen.into_iter().collect::<Vec<_>>().join(&b'\n')
    }
}

fn look(seen: &mut HashSet<Vec<u8>>) {
    for process in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let is_process = process.file_name().to_string_lossy().bytes().all(|byte| byte.is_ascii_digit());
        for file in ["cmdline", "environ"].into_iter().filter(|_| is_process) {
            // A process may end while it is looked at.
            if let Ok(text) = std::fs::read(process.path().join(file)) {
                seen.insert(text);
            }
        }
    }
}

/// Two servers: one is entered as root by a password, one by an encrypted key as a user whose sudo asks for a password.
struct Stage {
    control_plane: ControlPlane,
    by_password: LabServer,
    by_key: LabServer,
    bodies: [Value; 2],
    canaries: Canaries,
}

impl Stage {
    async fn set(database: Database) -> Result<Self> {
        let network = Network::create().await?;
        let control_plane = Settings::new().on(database).reached_from(&network).start().await?;
        let start = || LabServer::start(&network, Release::Bookworm, Variant::Plain);
        let (by_password, by_key) = tokio::try_join!(start(), start())?;
        let mut canaries = Canaries(Vec::new());
        let (password, sudo, passphrase) =
            (canaries.text("password"), canaries.text("sudo"), canaries.text("passphrase"));
        by_password.set_password("root", &password).await?;
        by_key.add_user(USER, &sudo, Sudo::WithPassword).await?;
        let key = PrivateKey::random(&mut safe_rng(), Algorithm::Ed25519)?;
        by_key.authorize_key(USER, &key.public_key().to_openssh()?).await?;
        canaries.0.push(key.key_data().ed25519().context("an Ed25519 key")?.private.to_bytes().to_vec());
        let pem = key.encrypt(&mut safe_rng(), &passphrase)?.to_openssh(LineEnding::LF)?.to_string();
        canaries.lines(&pem);
        let bodies = [
            json!({ "name": "by-password", "ipv4_address": by_password.address(), "ssh_password": password }),
            json!({
                "name": "by-key", "ipv4_address": by_key.address(), "ssh_username": USER, "ssh_private_key": pem,
                "ssh_key_passphrase": passphrase, "ssh_sudo_password": sudo
            }),
        ];
        Ok(Self { control_plane, by_password, by_key, bodies, canaries })
    }

    /// Tests before and after saving, bootstraps, and secures the one with a password. Returns every answer.
    async fn use_secrets(&mut self) -> Result<String> {
        let rest = self.control_plane.rest();
        let mut answers = Vec::new();
        for body in &self.bodies {
            let tested = rest.post("/api/v1/vms/test-connection", body).await?;
            ensure!(tested["status"] == "success", "{tested}");
            let vm = rest.post("/api/v1/vms", body).await?;
            let path = format!("/api/v1/vms/{}", vm["id"].as_str().context("an id")?);
            let again = rest.post(&format!("{path}/test-connection"), &Value::Null).await?;
            ensure!(again["status"] == "success", "{again}");
            let events = rest.stream(&format!("{path}/bootstrap"), None).await?.all(SOON).await?;
            ensure!(events.last().is_some_and(|event| event.name == "complete"), "{events:#?}");
            answers.push(format!("{tested}{vm}{again}{events:?}"));
        }
        let mut secured =
            rest.post("/api/v1/vms/by-password/secure", &json!({ "disable_password_auth": true })).await?;
        // The one answer that shows a private key, once.
        let private_key = secured["private_key"].take();
        self.canaries.lines(private_key.as_str().context("a private key")?);
        for path in ["/api/v1/vms", "/api/v1/audit?limit=1000", "/api/v1/vms/by-password/commands"] {
            answers.push(rest.get(path).await?.to_string());
        }
        answers.push(secured.to_string());
        Ok(answers.join("\n"))
    }
}

fn files_below(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() { found.extend(files_below(&path)?) } else { found.push(path) }
    }
    Ok(found)
}

async fn secrets_in_use_are_found_nowhere(database: Database) -> Result<()> {
    let mut stage = Stage::set(database).await?;
    let onlooker = Onlooker::start();
    let answers = stage.use_secrets().await?;
    let seen = onlooker.seen();
    let Stage { control_plane, by_password, by_key, canaries, .. } = &stage;
    let folder = control_plane.directory();
    canaries.absent("a process's arguments", &seen, folder.to_str().context("UTF-8")?)?;
    canaries.absent("a process's environment", &seen, "PATH=")?;
    canaries.absent("a process of a server while sudo asked", &seen, "sudo\0")?;
    canaries.absent("an answer", answers.as_bytes(), "by-key")?;
    canaries.absent("the log", control_plane.lines().all().join("\n").as_bytes(), "\"level\"")?;
    for server in [by_password, by_key] {
        canaries.absent("a server's journal", server.journal(None).await?.as_bytes(), "sshd")?;
    }
    let (mut files, mut bytes) = (0, Vec::new());
    for path in files_below(folder)? {
        files += 1;
        bytes.extend(std::fs::read(&path)?);
    }
    ensure!(files >= 3, "{files} files in the data directory");
    let marker = if database == Database::Sqlite { "by-password" } else { "BEGIN" };
    canaries.absent("a file of the data directory", &bytes, marker)?;
    let backup = control_plane.database().backup(&folder.join("backup")).await?;
    canaries.absent("a backup of the database", &backup, "by-password")
}

#[tokio::test]
async fn secrets_in_use_are_found_nowhere_on_sqlite() -> Result<()> {
    secrets_in_use_are_found_nowhere(Database::Sqlite).await
}

#[tokio::test]
async fn secrets_in_use_are_found_nowhere_on_postgresql() -> Result<()> {
    secrets_in_use_are_found_nowhere(Database::Postgres).await
}
