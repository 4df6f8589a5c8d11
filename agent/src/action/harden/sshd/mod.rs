//! sshd's settings, judged by its effective configuration: `sshd -T` outside every `Match`, and `sshd -T -C …` for every
//! condition that some `Match` names. What a file says counts only as far as sshd agrees.
//!
//! sshd takes the first value it reads, so ours must be read first: in a drop-in file that sorts before all others where
//! the main file includes drop-ins before anything else, in a file of our own included by the main file's first line
//! otherwise, and in the main file itself where sshd is too old to include. A `Match` block overrides what stands outside
//! of any; a first block of our own, for all, overrides it again.
//!
//! Passwords are switched off only where somebody has a key and sshd would take it. Nothing of it stays without a
//! confirmation, which comes after a fresh login from outside.

mod conditions;
mod keys;
mod text;

use async_trait::async_trait;
use muster_shared::{
    action::item::{RootLogin, SshdArgs},
    facts::InitSystem,
};

use self::{
    conditions::{Condition, conditions},
    text::{INCLUDED, Place, Settings},
};
use super::{NOT_APPLICABLE, look};
use crate::action::{
    host::{File, Host},
    plan::{Change, Plan, Refused},
    step::{Call, Step},
};

const MAIN: &str = "/etc/ssh/sshd_config";
const DROP_INS: &str = "/etc/ssh/sshd_config.d";
/// Files that configuration leads to, at most.
const MAX_FILES: usize = 64;

/// What sshd shall do.
#[derive(Debug, Clone)]
pub struct Sshd(pub SshdArgs);

/// What sshd does, and where it is told so.
#[derive(Debug, Clone)]
pub struct Evidence {
    init: InitSystem,
    version: (u32, u32),
    /// Effective settings: outside of any `Match` first, then for each condition that some `Match` names.
    effective: Vec<(String, Effective)>,
    main: (String, File),
    place: Place,
    /// Our own file where it is a file.
    own: Option<(String, File)>,
    /// What is reloaded: nothing where sshd does not run, or starts anew with each connection.
    unit: Option<&'static str>,
    /// Somebody could log in with a key.
    has_keys: bool,
}

/// `sshd -T`'s answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Effective(String);

impl Effective {
    fn value(&self, keyword: &str) -> Option<&str> {
        self.0.lines().find_map(|line| line.strip_prefix(keyword)?.strip_prefix(' ')).map(str::trim)
    }

    fn number(&self, keyword: &str) -> Option<u32> {
        self.value(keyword)?.parse().ok()
    }
}

/// One wish: a keyword, the value to write where it does not hold, and whether a value will do.
struct Wish {
    keyword: &'static str,
    value: String,
    will_do: Box<dyn Fn(&Effective) -> bool + Send>,
}

impl Sshd {
    fn wishes(&self) -> Vec<Wish> {
        let mut wishes = Vec::new();
        let mut wish = |keyword: &'static str, value: String, will_do: Box<dyn Fn(&Effective) -> bool + Send>| {
            wishes.push(Wish { keyword, value, will_do });
        };
        let is = |keyword: &'static str, word: &'static str| -> Box<dyn Fn(&Effective) -> bool + Send> {
            Box::new(move |effective| effective.value(keyword).is_some_and(|value| value == word))
        };
        match self.0.password_authentication {
            Some(false) => {
                wish("PasswordAuthentication", "no".into(), is("passwordauthentication", "no"));
                // PAM asks for the password on this way, too.
                wish("KbdInteractiveAuthentication", "no".into(), is("kbdinteractiveauthentication", "no"));
            }
            Some(true) => wish("PasswordAuthentication", "yes".into(), is("passwordauthentication", "yes")),
            None => {}
        }
        let any_of =
            |keyword: &'static str, words: &'static [&'static str]| -> Box<dyn Fn(&Effective) -> bool + Send> {
                Box::new(move |effective| effective.value(keyword).is_some_and(|value| words.contains(&value)))
            };
        match self.0.permit_root_login {
            Some(RootLogin::No) => wish("PermitRootLogin", "no".into(), is("permitrootlogin", "no")),
            Some(RootLogin::ProhibitPassword) => {
                let stricter = &["no", "prohibit-password", "without-password", "forced-commands-only"];
                wish("PermitRootLogin", "prohibit-password".into(), any_of("permitrootlogin", stricter));
            }
            Some(RootLogin::Yes) => wish("PermitRootLogin", "yes".into(), is("permitrootlogin", "yes")),
            None => {}
        }
        let mut at_most = |keyword: &'static str, key: &'static str, wanted: Option<u32>| {
            let Some(wanted) = wanted else { return };
            // Zero means never, which only zero is.
            let will_do = move |effective: &Effective| {
                effective
                    .number(key)
                    .is_some_and(|found| if wanted == 0 { found == 0 } else { (1..=wanted).contains(&found) })
            };
            wish(keyword, wanted.to_string(), Box::new(will_do));
        };
        at_most("MaxAuthTries", "maxauthtries", self.0.max_auth_tries);
        at_most("ClientAliveInterval", "clientaliveinterval", self.0.client_alive_interval);
        at_most("ClientAliveCountMax", "clientalivecountmax", self.0.client_alive_count_max);
        wishes
    }

    /// Why passwords must stay.
    fn refuse_password_off(&self, evidence: &Evidence) -> Result<(), Refused> {
        let refused = |detail: String| Err(Refused::new("no_key_login", detail));
        for (condition, effective) in &evidence.effective {
            if effective.value("pubkeyauthentication") != Some("yes") {
                return refused(format!("sshd takes no keys ({condition}), so passwords stay"));
            }
            let methods = effective.value("authenticationmethods").unwrap_or("any");
            if methods.contains("password") || methods.contains("keyboard-interactive") {
                return refused(format!("AuthenticationMethods asks for more than a key ({condition}): {methods}"));
            }
        }
        if evidence.has_keys {
            return Ok(());
        }
        refused("nobody may log in with a key yet, so passwords stay; deploy one first (muster secure)".into())
    }
}

#[async_trait]
impl Change for Sshd {
    type Evidence = Evidence;

    async fn gather(&self, host: &dyn Host) -> Result<Evidence, Refused> {
        if !host.has_program("sshd") {
            return Err(Refused::new(NOT_APPLICABLE, "there is no sshd"));
        }
        let main = look::text_file(host, MAIN)?
            .ok_or_else(|| Refused::new(look::UNREADABLE, format!("{MAIN} is not there")))?;
        let global = Effective(look::sshd_settings(host).await?);
        let files = configuration(host, &main.0);
        let mut effective = vec![("everywhere".to_owned(), global)];
        for condition in conditions(&files, &look::text(host, "/etc/group")) {
            effective.push((condition.to_string(), under(host, &condition).await?));
        }
        let version = version(host).await;
        let drop_ins = if host.has_directory(DROP_INS).unwrap_or(false) { Some(host.list(DROP_INS)) } else { None };
        let place = text::place(&main.0, drop_ins.as_deref(), version);
        let own = place.file().map_or(Ok(None), |path| look::text_file(host, path))?;
        let has_keys = keys::somebody_has_one(host, &effective[0].1);
        Ok(Evidence {
            init: host.platform().init_system,
            version,
            effective,
            main,
            place,
            own,
            unit: unit(host).await,
            has_keys,
        })
    }

    fn plan(&self, evidence: &Evidence) -> Result<Plan, Refused> {
        let wishes = self.wishes();
        let lacks = |wish: &&Wish| evidence.effective.iter().any(|(_, effective)| !(wish.will_do)(effective));
        let missing: Vec<&Wish> = wishes.iter().filter(lacks).collect();
        if missing.is_empty() {
            return Ok(Plan::nothing("sshd's effective configuration is as asked for"));
        }
        if missing.iter().any(|wish| wish.keyword == "PasswordAuthentication" && wish.value == "no") {
            self.refuse_password_off(evidence)?;
        }
        let before = evidence.own_text();
        let mut settings = Settings::read(before);
        for wish in &missing {
            settings.set(wish.keyword, &wish.value, evidence.version);
        }
        let overrides = evidence.effective.len() > 1 || Settings::overrides(before);
        let text = settings.text(evidence.place, overrides);
        let seen = missing_words(&missing, evidence);
        let mut steps = Vec::new();
        match evidence.place {
            Place::DropIn | Place::Included => {
                let path = evidence.place.file().unwrap_or(INCLUDED);
                if before != text {
                    steps.push(match &evidence.own {
                        Some((_, file)) => look::rewrite(path, text, file),
                        None => look::write(path, text, 0o600),
                    });
                }
                if evidence.place == Place::Included && !text::includes_ours(&evidence.main.0) {
                    steps.push(look::rewrite(MAIN, text::with_include(&evidence.main.0), &evidence.main.1));
                }
            }
            Place::Inline => {
                let main = text::with_block(&evidence.main.0, &text);
                if main != evidence.main.0 {
                    steps.push(look::rewrite(MAIN, main, &evidence.main.1));
                }
            }
        }
        if steps.is_empty() {
            let detail =
                format!("sshd is told so already and does otherwise: {seen}; look for a setting that is read first");
            return Err(Refused::new("overridden", detail));
        }
        let check = Call::new("sshd", &["-t"], look::QUERY_S);
        steps.push(Step::Check { title: "have sshd check its configuration".to_owned(), call: check });
        steps.extend(evidence.unit.and_then(|unit| Step::reload(evidence.init, unit)));
        Ok(Plan::of(steps, seen).confirmed_from(0))
    }
}

impl Evidence {
    fn own_text(&self) -> &str {
        match self.place {
            Place::Inline => text::block(&self.main.0),
            _ => self.own.as_ref().map_or("", |(text, _)| text),
        }
    }
}

fn missing_words(missing: &[&Wish], evidence: &Evidence) -> String {
    let words = missing.iter().flat_map(|wish| {
        let key = wish.keyword.to_lowercase();
        let others = evidence.effective.iter().filter(|(_, effective)| !(wish.will_do)(effective));
        others.map(move |(condition, effective)| {
            format!("{key} {} ({condition})", effective.value(&key).unwrap_or("unset"))
        })
    });
    words.collect::<Vec<_>>().join(", ")
}

async fn under(host: &dyn Host, condition: &Condition) -> Result<Effective, Refused> {
    Ok(Effective(look::ask(host, "sshd", &["-T", "-C", &condition.specification()]).await?))
}

async fn version(host: &dyn Host) -> (u32, u32) {
    // Older releases don't know the option and say their version while they complain.
    let said = host.ask(&Call::new("sshd", &["-V"], look::QUERY_S)).await.unwrap_or_default();
    text::version(&format!("{}\n{}", said.stderr, said.stdout))
}

/// The main file and whatever it includes, as far as it can be read, for the `Match` lines in it.
fn configuration(host: &dyn Host, main: &str) -> Vec<String> {
    let mut files = vec![main.to_owned()];
    let mut at = 0;
    while at < files.len() && files.len() < MAX_FILES {
        for pattern in text::includes(&files[at]) {
            let (folder, name) = pattern.rsplit_once('/').unwrap_or((DROP_INS, pattern.as_str()));
            let names = host.list(folder).into_iter().filter(|file| text::matches(name, file));
            let found: Vec<String> = names.map(|file| look::text(host, &format!("{folder}/{file}"))).collect();
            files.extend(found.into_iter().take(MAX_FILES - files.len().min(MAX_FILES)));
        }
        at += 1;
    }
    files
}

/// The unit that is to read the configuration anew. With socket activation it may not run just now; then the next
/// connection starts it with the new configuration.
async fn unit(host: &dyn Host) -> Option<&'static str> {
    let names: &[&'static str] = match host.platform().init_system {
        InitSystem::Systemd => &["ssh.service", "sshd.service"],
        InitSystem::Openrc | InitSystem::Sysvinit => &["ssh", "sshd"],
        InitSystem::None => &[],
    };
    for name in names {
        if look::service(host, name).await.running {
            return Some(name);
        }
    }
    None
}

#[cfg(test)]
mod tests;
