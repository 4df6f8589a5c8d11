//! Tokens of a made-up provider, each wrong in one way.

use proptest::prelude::*;
use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _},
};
use serde_json::json;

use super::*;

const ISSUER: &str = "https://id.example.com";
const NOW_US: i64 = 1_736_937_000_000_000;
const NOW: i64 = NOW_US / 1_000_000;

struct Provider {
    curve: EcdsaKeyPair,
    edwards: Ed25519KeyPair,
}

fn text(bytes: &[u8]) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

impl Provider {
    fn new() -> Self {
        let random = SystemRandom::new();
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &random).expect("a key");
        let curve = EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), &random).expect("a key");
        let pkcs8 = Ed25519KeyPair::generate_pkcs8(&random).expect("a key");
        Self { curve, edwards: Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).expect("a key") }
    }

    fn keys(&self) -> Keys {
        let point = self.curve.public_key().as_ref();
        let set = json!({ "keys": [
            { "kty": "EC", "crv": "P-256", "kid": "curve", "use": "sig", "x": text(&point[1..33]), "y": text(&point[33..]) },
            { "kty": "OKP", "crv": "Ed25519", "kid": "edwards", "alg": "EdDSA", "x": text(self.edwards.public_key().as_ref()) },
            { "kty": "oct", "kid": "shared", "k": text(b"secret") },
            { "kty": "EC", "crv": "P-256", "kid": "other", "use": "enc", "x": text(&point[1..33]), "y": text(&point[33..]) },
        ] });
        Keys::parse(set.to_string().as_bytes()).expect("keys")
    }

    fn sign(&self, header: &Value, body: &Value) -> String {
        let message = format!("{}.{}", text(header.to_string().as_bytes()), text(body.to_string().as_bytes()));
        let signature = match header["alg"].as_str() {
            Some("EdDSA") => self.edwards.sign(message.as_bytes()).as_ref().to_vec(),
            Some("none") => Vec::new(),
            _ => self.curve.sign(&SystemRandom::new(), message.as_bytes()).expect("signed").as_ref().to_vec(),
        };
        format!("{message}.{}", text(&signature))
    }

    fn judge(&self, header: &Value, body: &Value) -> Result<Claims, TokenFault> {
        verify(&self.sign(header, body), &self.keys(), expected())
    }

    /// A good token but for what `change` does to it.
    fn judge_changed(&self, change: impl FnOnce(&mut Value)) -> Result<Claims, TokenFault> {
        let mut body = body();
        change(&mut body);
        self.judge(&header(), &body)
    }
}

fn expected() -> Expected<'static> {
    Expected { issuer: ISSUER, client_id: "muster", nonce: "n-1", now_us: NOW_US }
}

fn header() -> Value {
    json!({ "alg": "ES256", "kid": "curve" })
}

fn body() -> Value {
    json!({
        "iss": ISSUER, "sub": "ada", "aud": "muster", "exp": NOW + 300, "iat": NOW, "nonce": "n-1",
        "email": "Ada@Example.com", "email_verified": true
    })
}

#[test]
fn a_good_token_says_who_it_is() {
    let provider = Provider::new();
    let claims = provider.judge(&header(), &body()).expect("good");
    assert_eq!(
        (claims.subject.as_str(), claims.email.map(|it| it.to_string())),
        ("ada", Some("ada@example.com".into()))
    );
    provider.judge(&json!({ "alg": "EdDSA", "kid": "edwards" }), &body()).expect("good");
    provider.judge_changed(|body| body["aud"] = json!(["muster"])).expect("a list of one");
    let party = |body: &mut Value| {
        body["aud"] = json!(["other", "muster"]);
        body["azp"] = json!("muster");
    };
    provider.judge_changed(party).expect("we are the party");
    provider.judge_changed(|body| body["exp"] = json!(NOW - 30)).expect("clocks differ a little");
}

#[test]
fn a_token_that_is_wrong_in_one_way_is_refused() {
    let provider = Provider::new();
    let changed = |field: &'static str, value: Value| provider.judge_changed(|body| body[field] = value);
    for (field, value, fault) in [
        ("iss", json!("https://id.example.com/"), TokenFault::Issuer),
        ("aud", json!("other"), TokenFault::Audience),
        ("aud", json!([]), TokenFault::Audience),
        ("aud", json!(["muster", "other"]), TokenFault::Audience),
        ("azp", json!("other"), TokenFault::Audience),
        ("exp", json!(NOW - 61), TokenFault::Time),
        ("exp", json!("9999999999"), TokenFault::Malformed),
        ("iat", json!(NOW + 61), TokenFault::Time),
        ("nbf", json!(NOW + 61), TokenFault::Time),
        ("nonce", json!("n-2"), TokenFault::Nonce),
        ("nonce", json!(null), TokenFault::Nonce),
        ("sub", json!(""), TokenFault::Malformed),
        ("sub", json!("a\nb"), TokenFault::Malformed),
        ("sub", json!(null), TokenFault::Malformed),
    ] {
        assert_eq!(changed(field, value.clone()), Err(fault), "{field}: {value}");
    }
    for field in ["iss", "sub", "aud", "exp", "iat"] {
        let gone = |body: &mut Value| drop(body.as_object_mut().expect("an object").remove(field));
        assert_eq!(provider.judge_changed(gone), Err(TokenFault::Malformed), "without {field}");
    }
}

#[test]
fn an_address_counts_only_where_it_is_verified() {
    let provider = Provider::new();
    for verified in [json!(false), json!("true"), json!(1), json!(null)] {
        let claims = provider.judge_changed(|body| body["email_verified"] = verified).expect("good");
        assert_eq!((claims.email, claims.tells_email), (None, true));
    }
    let claims = provider.judge_changed(|body| body["email"] = json!("no address")).expect("good");
    assert_eq!(claims.email, None);
}

#[test]
fn only_the_providers_own_signature_counts() {
    let (provider, stranger) = (Provider::new(), Provider::new());
    let judge = |header: Value| provider.judge(&header, &body());
    assert_eq!(judge(json!({ "alg": "none" })), Err(TokenFault::Algorithm));
    assert_eq!(judge(json!({ "alg": "HS256", "kid": "shared" })), Err(TokenFault::Algorithm));
    assert_eq!(judge(json!({ "alg": "ES256", "kid": "gone" })), Err(TokenFault::UnknownKey));
    assert_eq!(judge(json!({ "alg": "ES256", "kid": "other" })), Err(TokenFault::UnknownKey), "it is for encryption");
    assert_eq!(judge(json!({ "alg": "RS256", "kid": "curve" })), Err(TokenFault::UnknownKey), "of another kind");
    assert_eq!(judge(json!({ "alg": "ES256", "kid": "curve", "crit": ["b64"] })), Err(TokenFault::Malformed));
    judge(json!({ "alg": "ES256" })).expect("there is one key only that it can be");
    let forged = stranger.sign(&header(), &body());
    assert_eq!(verify(&forged, &provider.keys(), expected()), Err(TokenFault::Signature));
    for text in ["", "a.b", "a.b.c.d", "..", "e30.e30."] {
        assert_eq!(verify(text, &provider.keys(), expected()), Err(TokenFault::Malformed), "{text}");
    }
    let long = format!("{}.a.a", "a".repeat(MAX_TOKEN_BYTES));
    assert_eq!(verify(&long, &provider.keys(), expected()), Err(TokenFault::Malformed));
}

proptest! {
    #[test]
    fn no_change_of_a_token_is_believed(at in 0_usize..4096, to in any::<u8>()) {
        let provider = Provider::new();
        let mut bytes = provider.sign(&header(), &body()).into_bytes();
        let at = at % bytes.len();
        prop_assume!(bytes[at] != to && to.is_ascii());
        bytes[at] = to;
        let changed = String::from_utf8(bytes).expect("ASCII");
        prop_assert!(verify(&changed, &provider.keys(), expected()).is_err());
    }

    #[test]
    fn nothing_from_outside_panics(token in "\\PC{0,200}", keys in "\\PC{0,200}") {
        let keys = Keys::parse(keys.as_bytes()).unwrap_or_default();
        prop_assert!(verify(&token, &keys, expected()).is_err());
    }
}
