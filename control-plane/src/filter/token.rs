//! Words of an expression, each with its place.

use super::{InvalidFilter, MAX_CHARACTERS};

/// The largest whole number that every number below is exact at.
const MAX_NUMBER: f64 = 9_007_199_254_740_992.0;

/// What a word is.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    Name(String),
    Text(String),
    Number(f64),
    /// An operator or bracket.
    Sign(&'static str),
    End,
}

/// Signs, the longer of two that begin alike first.
const SIGNS: [&str; 25] = [
    "&&", "||", "==", "!=", "<=", ">=", "<", ">", "!", "+", "-", "*", "/", "%", "?", ":", "(", ")", "[", "]", "{", "}",
    ",", ".", "in",
];

/// Cuts `text` into words and the characters before each. The last is [`Token::End`].
pub(super) fn tokens(text: &str) -> Result<Vec<(usize, Token)>, InvalidFilter> {
    let characters: Vec<char> = text.chars().take(MAX_CHARACTERS + 1).collect();
    if characters.len() > MAX_CHARACTERS {
        return Err(InvalidFilter::new(MAX_CHARACTERS, format!("a filter has at most {MAX_CHARACTERS} characters")));
    }
    let mut reader = Reader { characters: &characters, at: 0 };
    let mut tokens = Vec::new();
    loop {
        reader.skip(char::is_whitespace);
        let at = reader.at;
        let token = reader.token()?;
        let is_last = token == Token::End;
        tokens.push((at, token));
        if is_last {
            return Ok(tokens);
        }
    }
}

struct Reader<'a> {
    characters: &'a [char],
    at: usize,
}

impl Reader<'_> {
    fn peek(&self, ahead: usize) -> Option<char> {
        self.characters.get(self.at + ahead).copied()
    }

    fn skip(&mut self, wanted: impl Fn(char) -> bool) {
        while self.peek(0).is_some_and(&wanted) {
            self.at += 1;
        }
    }

    fn since(&self, start: usize) -> String {
        self.characters.get(start..self.at).unwrap_or_default().iter().collect()
    }

    fn token(&mut self) -> Result<Token, InvalidFilter> {
        let start = self.at;
        match (self.peek(0), self.peek(1)) {
            (None, _) => Ok(Token::End),
            (Some(quote @ ('"' | '\'')), _) => self.text(quote, false),
            (Some('r' | 'R'), Some(quote @ ('"' | '\''))) => {
                self.at += 1;
                self.text(quote, true)
            }
            (Some('b' | 'B'), Some('"' | '\'')) => {
                Err(InvalidFilter::new(start, "bytes are not offered: write a text in quotes"))
            }
            (Some(digit), next)
                if digit.is_ascii_digit() || (digit == '.' && next.is_some_and(|c| c.is_ascii_digit())) =>
            {
                self.number()
            }
            (Some(letter), _) if letter.is_ascii_alphabetic() || letter == '_' => {
                self.skip(|c| c.is_ascii_alphanumeric() || c == '_');
                let word = self.since(start);
                Ok(if word == "in" { Token::Sign("in") } else { Token::Name(word) })
            }
            (Some(other), _) => self.sign(other),
        }
    }

    fn sign(&mut self, first: char) -> Result<Token, InvalidFilter> {
        let fits = |sign: &&&str| sign.chars().enumerate().all(|(ahead, c)| self.peek(ahead) == Some(c));
        if let Some(sign) = SIGNS.iter().find(fits) {
            self.at += sign.len();
            return Ok(Token::Sign(sign));
        }
        let what = match first {
            '=' => "a comparison for equality is written ==".to_owned(),
            '&' | '|' => format!("and and or are written && and ||, not {first}"),
            other => format!("{other:?} means nothing here"),
        };
        Err(InvalidFilter::new(self.at, what))
    }

    fn number(&mut self) -> Result<Token, InvalidFilter> {
        let start = self.at;
        let malformed = || InvalidFilter::new(start, "this is no number");
        let value = if self.peek(0) == Some('0') && matches!(self.peek(1), Some('x' | 'X')) {
            self.at += 2;
            self.skip(|c| c.is_ascii_hexdigit());
            // Below 2^53, so that nothing is lost; more is refused right after.
            u64::from_str_radix(self.since(start).get(2..).unwrap_or_default(), 16).map_err(|_| malformed())? as f64
        } else {
            self.skip(|c| c.is_ascii_digit());
            if self.peek(0) == Some('.') && self.peek(1).is_some_and(|c| c.is_ascii_digit()) {
                self.at += 1;
                self.skip(|c| c.is_ascii_digit());
            }
            if matches!(self.peek(0), Some('e' | 'E')) {
                self.at += if matches!(self.peek(1), Some('+' | '-')) { 2 } else { 1 };
                self.skip(|c| c.is_ascii_digit());
            }
            self.since(start).parse().map_err(|_| malformed())?
        };
        if matches!(self.peek(0), Some('u' | 'U')) {
            self.at += 1;
        }
        if self.peek(0).is_some_and(|c| c.is_alphanumeric() || c == '_') {
            return Err(malformed());
        }
        if value > MAX_NUMBER {
            return Err(InvalidFilter::new(start, "this number is too large: at most 2^53"));
        }
        Ok(Token::Number(value))
    }

    fn text(&mut self, quote: char, raw: bool) -> Result<Token, InvalidFilter> {
        let start = self.at;
        self.at += 1;
        let mut text = String::new();
        loop {
            match self.peek(0) {
                None | Some('\n') => return Err(InvalidFilter::new(start, "this text has no end: a quote is missing")),
                Some(character) if character == quote => {
                    self.at += 1;
                    return Ok(Token::Text(text));
                }
                Some('\\') if !raw => text.push(self.escape()?),
                Some(character) => {
                    self.at += 1;
                    text.push(character);
                }
            }
        }
    }

    fn escape(&mut self) -> Result<char, InvalidFilter> {
        let start = self.at;
        let unknown =
            || InvalidFilter::new(start, "no such escape: \\\\, \\\", \\', \\n, \\t, \\r, \\xHH and \\uHHHH are");
        let escaped = self.peek(1).ok_or_else(unknown)?;
        self.at += 2;
        let digits = match escaped {
            'n' => return Ok('\n'),
            't' => return Ok('\t'),
            'r' => return Ok('\r'),
            '\\' | '"' | '\'' | '`' | '?' => return Ok(escaped),
            'x' | 'X' => 2,
            'u' => 4,
            'U' => 8,
            _ => return Err(unknown()),
        };
        let code: String = self.characters.get(self.at..).unwrap_or_default().iter().take(digits).collect();
        self.at += digits;
        let code = (code.chars().count() == digits && code.chars().all(|c| c.is_ascii_hexdigit())).then_some(code);
        let code = code.and_then(|code| u32::from_str_radix(&code, 16).ok());
        code.and_then(char::from_u32).ok_or_else(unknown)
    }
}
