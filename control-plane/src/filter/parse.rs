//! From words to a tree. What binds how tightly is CEL's: `? :`, `||`, `&&`, comparisons and `in`, `+ -`, `* / %`,
//! signs, then calls. Every recursion goes through [`Parser::deeper`], so the stack is bounded.

use super::{
    InvalidFilter, MAX_NESTING, MAX_NODES,
    token::{Token, tokens},
};

/// A part of an expression and the characters before it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Expression {
    pub at: usize,
    pub kind: ExpressionKind,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum ExpressionKind {
    Text(String),
    Number(f64),
    Truth(bool),
    /// A name with its dots.
    Name(String),
    List(Vec<Expression>),
    Not(Box<Expression>),
    Negative(Box<Expression>),
    All(Vec<Expression>),
    Any(Vec<Expression>),
    /// The operator's sign, and where it stands.
    Binary(&'static str, usize, Box<[Expression; 2]>),
    Choice(Box<[Expression; 3]>),
    /// A function's name and what it is given.
    Call(String, Vec<Expression>),
    /// What it is called on, its name, where that stands, and what it is given.
    Method(Box<Expression>, String, usize, Vec<Expression>),
}

use ExpressionKind as Is;

const COMPARISONS: &[&str] = &["==", "!=", "<=", ">=", "<", ">", "in"];
const SUMS: &[&str] = &["+", "-"];
const PRODUCTS: &[&str] = &["*", "/", "%"];

/// The tree of `text`.
pub(super) fn parse(text: &str) -> Result<Expression, InvalidFilter> {
    let tokens = tokens(text)?;
    let mut parser = Parser { tokens: &tokens, next: 0, depth: 0, nodes: 0 };
    let expression = parser.expression()?;
    match parser.peek() {
        (_, Token::End) => Ok(expression),
        (at, Token::Sign(")" | "]")) => Err(InvalidFilter::new(at, "this bracket closes nothing")),
        (at, _) => Err(InvalidFilter::new(at, "an operator such as && is missing here")),
    }
}

struct Parser<'a> {
    tokens: &'a [(usize, Token)],
    next: usize,
    depth: usize,
    nodes: usize,
}

type Parsed = Result<Expression, InvalidFilter>;

impl<'a> Parser<'a> {
    fn peek(&self) -> (usize, &'a Token) {
        // The last token is the end, and nothing is read beyond it.
        match self.tokens.get(self.next).or(self.tokens.last()) {
            Some((at, token)) => (*at, token),
            None => (0, &Token::End),
        }
    }

    fn take(&mut self, sign: &str) -> bool {
        let found = matches!(self.peek().1, Token::Sign(found) if *found == sign);
        self.next += usize::from(found);
        found
    }

    fn take_any(&mut self, signs: &[&str]) -> Option<(usize, &'static str)> {
        match self.peek() {
            (at, Token::Sign(found)) if signs.contains(found) => {
                self.next += 1;
                Some((at, found))
            }
            _ => None,
        }
    }

    fn require(&mut self, sign: &'static str) -> Result<(), InvalidFilter> {
        if self.take(sign) { Ok(()) } else { Err(InvalidFilter::new(self.peek().0, format!("{sign} is missing here"))) }
    }

    fn node(&mut self, at: usize, kind: ExpressionKind) -> Parsed {
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            let what = format!("a filter has at most {MAX_NODES} names, values and operators");
            return Err(InvalidFilter::new(at, what));
        }
        Ok(Expression { at, kind })
    }

    fn deeper(&mut self, inner: impl FnOnce(&mut Self) -> Parsed) -> Parsed {
        self.depth += 1;
        if self.depth > MAX_NESTING {
            let what = format!("this is nested too deep: at most {MAX_NESTING}");
            return Err(InvalidFilter::new(self.peek().0, what));
        }
        let parsed = inner(self);
        self.depth -= 1;
        parsed
    }

    fn expression(&mut self) -> Parsed {
        self.deeper(|parser| {
            let condition = parser.any()?;
            if !parser.take("?") {
                return Ok(condition);
            }
            let yes = parser.any()?;
            parser.require(":")?;
            let no = parser.expression()?;
            parser.node(condition.at, Is::Choice(Box::new([condition, yes, no])))
        })
    }

    fn any(&mut self) -> Parsed {
        self.row("||", Self::all, Is::Any)
    }

    fn all(&mut self) -> Parsed {
        self.row("&&", Self::comparison, Is::All)
    }

    fn row(
        &mut self,
        sign: &str,
        part: impl Fn(&mut Self) -> Parsed,
        kind: impl FnOnce(Vec<Expression>) -> ExpressionKind,
    ) -> Parsed {
        let first = part(self)?;
        if !self.take(sign) {
            return Ok(first);
        }
        let at = first.at;
        let mut parts = vec![first, part(self)?];
        while self.take(sign) {
            parts.push(part(self)?);
        }
        self.node(at, kind(parts))
    }

    fn comparison(&mut self) -> Parsed {
        self.chain(COMPARISONS, Self::sum)
    }

    fn sum(&mut self) -> Parsed {
        self.chain(SUMS, Self::product)
    }

    fn product(&mut self) -> Parsed {
        self.chain(PRODUCTS, Self::signed)
    }

    fn chain(&mut self, signs: &[&str], part: impl Fn(&mut Self) -> Parsed) -> Parsed {
        let mut left = part(self)?;
        while let Some((at, sign)) = self.take_any(signs) {
            let right = part(self)?;
            left = self.node(left.at, Is::Binary(sign, at, Box::new([left, right])))?;
        }
        Ok(left)
    }

    fn signed(&mut self) -> Parsed {
        let Some((at, sign)) = self.take_any(&["!", "-"]) else { return self.called() };
        let inner = Box::new(self.deeper(Self::signed)?);
        self.node(at, if sign == "!" { Is::Not(inner) } else { Is::Negative(inner) })
    }

    /// A value and what is called on it.
    fn called(&mut self) -> Parsed {
        let mut value = self.value()?;
        loop {
            let (at, _) = self.peek();
            if self.take(".") {
                let (name_at, token) = self.peek();
                let Token::Name(name) = token else {
                    return Err(InvalidFilter::new(name_at, "a name is missing after the dot"));
                };
                self.next += 1;
                if self.take("(") {
                    let given = self.list(")")?;
                    value = self.node(value.at, Is::Method(Box::new(value), name.clone(), name_at, given))?;
                } else if let Is::Name(path) = &mut value.kind {
                    path.push('.');
                    path.push_str(name);
                } else {
                    return Err(InvalidFilter::new(at, "only names have parts"));
                }
            } else if self.take("[") {
                return Err(InvalidFilter::new(at, "lists have no index here: ask with `in`, as in 80 in ports.tcp"));
            } else {
                return Ok(value);
            }
        }
    }

    fn value(&mut self) -> Parsed {
        let (at, token) = self.peek();
        self.next += 1;
        match token {
            Token::Number(number) => self.node(at, Is::Number(*number)),
            Token::Text(text) => self.node(at, Is::Text(text.clone())),
            Token::Name(name) => self.name(at, name),
            Token::Sign("(") => {
                let inner = self.expression()?;
                self.require(")")?;
                Ok(inner)
            }
            Token::Sign("[") => {
                let items = self.list("]")?;
                self.node(at, Is::List(items))
            }
            Token::Sign("{") => Err(InvalidFilter::new(at, "maps are not offered")),
            Token::End => {
                self.next -= 1;
                Err(InvalidFilter::new(at, "the filter ends where a name or value is expected"))
            }
            Token::Sign(sign) => Err(InvalidFilter::new(at, format!("a name or value is expected here, not {sign}"))),
        }
    }

    fn name(&mut self, at: usize, name: &str) -> Parsed {
        match name {
            "true" | "false" => self.node(at, Is::Truth(name == "true")),
            "null" => Err(InvalidFilter::new(at, "there is no null: whether something is known is asked by has(NAME)")),
            _ if self.take("(") => {
                let given = self.list(")")?;
                self.node(at, Is::Call(name.to_owned(), given))
            }
            _ => self.node(at, Is::Name(name.to_owned())),
        }
    }

    fn list(&mut self, end: &'static str) -> Result<Vec<Expression>, InvalidFilter> {
        let mut items = Vec::new();
        while !self.take(end) {
            if !items.is_empty() {
                self.require(",")?;
                if self.take(end) {
                    break;
                }
            }
            items.push(self.expression()?);
        }
        Ok(items)
    }
}
