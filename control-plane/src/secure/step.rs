//! The steps of securing a server, in their order, and what is undone after each. Pure.

/// Where a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    Connecting,
    GeneratingKey,
    DeployingKey,
    VerifyingKey,
    CheckingRoot,
    DisablingPasswords,
    VerifyingKeyAgain,
    VerifyingRefusal,
    UpdatingRecord,
    KeepingPasswordsOff,
}

impl Step {
    /// Its word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::GeneratingKey => "generating_key",
            Self::DeployingKey => "deploying_key",
            Self::VerifyingKey => "verifying_key",
            Self::CheckingRoot => "checking_root",
            Self::DisablingPasswords => "disabling_passwords",
            Self::VerifyingKeyAgain => "verifying_key_again",
            Self::VerifyingRefusal => "verifying_refusal",
            Self::UpdatingRecord => "updating_record",
            Self::KeepingPasswordsOff => "keeping_passwords_off",
        }
    }

    /// What is going on in it, in words.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Connecting => "Establishing SSH connection with the current password…",
            Self::GeneratingKey => "Generating an Ed25519 key pair…",
            Self::DeployingKey => "Deploying the public key to ~/.ssh/authorized_keys…",
            Self::VerifyingKey => "Verifying the key with a fresh login…",
            Self::CheckingRoot => "Verifying that root can be reached without the password…",
            Self::DisablingPasswords => "Switching password logins off, on trial…",
            Self::VerifyingKeyAgain => "Verifying the key with another fresh login…",
            Self::VerifyingRefusal => "Verifying that the password is refused…",
            Self::UpdatingRecord => "Switching the server's record to the key and clearing the password…",
            Self::KeepingPasswordsOff => "Keeping password logins off…",
        }
    }
}

/// What a run has changed on its host so far, and not kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Changed {
    /// The public key may be among those that are let in.
    pub(super) key_deployed: bool,
    /// Passwords may be off, on trial.
    pub(super) passwords_off: bool,
}

impl Changed {
    /// What may be changed once `step` has begun: a step that fails may have done its work all the same.
    pub(super) fn by(self, step: Step) -> Self {
        Self {
            key_deployed: self.key_deployed || step == Step::DeployingKey,
            passwords_off: self.passwords_off || step == Step::DisablingPasswords,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_that_begins_is_undone_even_if_it_fails() {
        let mut changed = Changed::default();
        for step in [Step::Connecting, Step::GeneratingKey] {
            changed = changed.by(step);
            assert_eq!(changed, Changed::default());
        }
        changed = changed.by(Step::DeployingKey).by(Step::VerifyingKey);
        assert_eq!(changed, Changed { key_deployed: true, passwords_off: false });
        changed = changed.by(Step::DisablingPasswords).by(Step::UpdatingRecord);
        assert_eq!(changed, Changed { key_deployed: true, passwords_off: true });
    }
}
