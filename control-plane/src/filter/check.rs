//! From a tree to something that can be evaluated: names are looked up, types have to go together, and constants are
//! read. What passes here can't fail later.

use super::{
    Field, InvalidFilter, Kind,
    duration::duration_us,
    field::{self, FIELDS},
    kind::Value,
    parse::{Expression, ExpressionKind as Is},
    version::is_version,
};

/// An expression whose types go together.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Node {
    Constant(Value<'static>),
    Now,
    Field(&'static Field),
    Has(&'static Field),
    Not(Box<Node>),
    All(Vec<Node>),
    Any(Vec<Node>),
    Choice(Box<[Node; 3]>),
    Compare(&'static str, Box<[Node; 2]>),
    /// The first is among what the second holds.
    Among(Box<[Node; 2]>),
    List(Vec<Node>),
    Arithmetic(&'static str, Box<[Node; 2]>),
    Negative(Box<Node>),
    TextTest(TextTest, Box<[Node; 2]>),
    Lower(Box<Node>),
    Size(Box<Node>),
}

/// What can be asked of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TextTest {
    StartsWith,
    EndsWith,
    Contains,
}

impl Node {
    /// Shows every field that is read.
    pub(super) fn visit_fields(&self, visit: &mut impl FnMut(&'static Field)) {
        match self {
            Self::Field(field) | Self::Has(field) => visit(field),
            Self::Constant(_) | Self::Now => {}
            Self::Not(inner) | Self::Negative(inner) | Self::Lower(inner) | Self::Size(inner) => {
                inner.visit_fields(visit);
            }
            Self::All(parts) | Self::Any(parts) | Self::List(parts) => {
                parts.iter().for_each(|part| part.visit_fields(visit));
            }
            Self::Choice(parts) => parts.iter().for_each(|part| part.visit_fields(visit)),
            Self::Compare(_, parts) | Self::Among(parts) | Self::Arithmetic(_, parts) | Self::TextTest(_, parts) => {
                parts.iter().for_each(|part| part.visit_fields(visit));
            }
        }
    }
}

type Checked = Result<(Kind, Node), InvalidFilter>;

/// The whole: it says yes or no.
pub(super) fn check(expression: &Expression) -> Result<Node, InvalidFilter> {
    let wanted = "a filter is a comparison or a call that is true or false";
    let (kind, node) = typed(expression)?;
    if kind == Kind::Truth {
        Ok(node)
    } else {
        Err(InvalidFilter::new(expression.at, format!("this is a {kind}: {wanted}")))
    }
}

fn typed(expression: &Expression) -> Checked {
    let at = expression.at;
    match &expression.kind {
        Is::Text(text) => Ok((Kind::Text, Node::Constant(Value::Text(text.clone().into())))),
        Is::Number(number) => Ok((Kind::Number, Node::Constant(Value::Number(*number)))),
        Is::Truth(truth) => Ok((Kind::Truth, Node::Constant(Value::Truth(*truth)))),
        Is::Name(name) if name == "now" => Ok((Kind::Time, Node::Now)),
        Is::Name(name) => {
            field::find(name).map(|field| (field.kind, Node::Field(field))).ok_or_else(|| unknown(at, name))
        }
        Is::List(items) => list(at, items),
        Is::Not(inner) => Ok((Kind::Truth, Node::Not(Box::new(expect(inner, Kind::Truth)?)))),
        Is::Negative(inner) => Ok((Kind::Number, Node::Negative(Box::new(expect(inner, Kind::Number)?)))),
        Is::All(parts) => Ok((Kind::Truth, Node::All(truths(parts)?))),
        Is::Any(parts) => Ok((Kind::Truth, Node::Any(truths(parts)?))),
        Is::Choice(parts) => choice(parts),
        Is::Binary("in", _, parts) => among(parts),
        Is::Binary(sign @ ("+" | "-" | "*" | "/" | "%"), sign_at, parts) => arithmetic(sign, *sign_at, parts),
        Is::Binary(sign, sign_at, parts) => comparison(sign, *sign_at, parts),
        Is::Call(name, given) => call(at, name, given),
        Is::Method(on, name, name_at, given) => method(on, name, *name_at, given),
    }
}

fn expect(expression: &Expression, wanted: Kind) -> Result<Node, InvalidFilter> {
    let (kind, node) = typed(expression)?;
    if kind == wanted { Ok(node) } else { Err(mismatch(expression.at, wanted, kind)) }
}

/// The parts of a conjunction or disjunction, what is read quickest first: their order decides nothing but how soon an
/// answer is known.
fn truths(parts: &[Expression]) -> Result<Vec<Node>, InvalidFilter> {
    let mut nodes: Vec<_> = parts.iter().map(|part| expect(part, Kind::Truth)).collect::<Result<_, _>>()?;
    nodes.sort_by_key(|node| {
        let mut columns = 0;
        node.visit_fields(&mut |field| columns += field.columns.len());
        columns
    });
    Ok(nodes)
}

/// `found` stands at `at`, where a `wanted` was needed.
fn mismatch(at: usize, wanted: Kind, found: Kind) -> InvalidFilter {
    let hint = match (wanted, found) {
        (Kind::Version, Kind::Text | Kind::Number) => ": write version(\"…\") around it, with quotes",
        (Kind::Time, Kind::Text) => ": write timestamp(\"…\") around it",
        (Kind::Duration, Kind::Text) => ": write duration(\"…\") around it",
        _ => "",
    };
    InvalidFilter::new(at, format!("expected a {wanted} here, not a {found}{hint}"))
}

fn unknown(at: usize, name: &str) -> InvalidFilter {
    let prefix = format!("{name}.");
    let parts: Vec<_> = FIELDS.iter().map(|field| field.name).filter(|known| known.starts_with(&prefix)).collect();
    let what = if parts.is_empty() {
        let similar = |known: &str| (strsim::normalized_damerau_levenshtein(name, known) * 1e6) as u64;
        // A table that is not empty has a nearest entry.
        let nearest = FIELDS.iter().map(|field| field.name).max_by_key(|known| similar(known)).unwrap_or_default();
        format!("no such name as `{name}`; did you mean `{nearest}`?")
    } else {
        format!("`{name}` is no value but a group: {}", parts.join(", "))
    };
    InvalidFilter::new(at, what)
}

fn list(at: usize, items: &[Expression]) -> Checked {
    let Some((first, rest)) = items.split_first() else {
        return Err(InvalidFilter::new(at, "an empty list holds nothing: name what it holds"));
    };
    let (kind, node) = typed(first)?;
    let mut nodes = vec![node];
    for item in rest {
        nodes.push(expect(item, kind)?);
    }
    let of = match kind {
        Kind::Text => Kind::Texts,
        Kind::Number => Kind::Numbers,
        _ => return Err(InvalidFilter::new(at, format!("a list of this kind ({kind}) stands only after `in`"))),
    };
    Ok((of, Node::List(nodes)))
}

fn choice(parts: &[Expression; 3]) -> Checked {
    let [condition, yes, no] = parts;
    let condition = expect(condition, Kind::Truth)?;
    let (kind, yes) = typed(yes)?;
    let no = expect(no, kind)?;
    Ok((kind, Node::Choice(Box::new([condition, yes, no]))))
}

fn among([item, list]: &[Expression; 2]) -> Checked {
    let (kind, item) = typed(item)?;
    let list = match &list.kind {
        Is::List(items) => Node::List(items.iter().map(|item| expect(item, kind)).collect::<Result<_, _>>()?),
        _ => {
            let (of, node) = typed(list)?;
            match of.element() {
                Some(element) if element == kind => node,
                Some(element) => {
                    return Err(InvalidFilter::new(list.at, format!("this holds {element}s, not {kind}s")));
                }
                None => {
                    let what = format!("expected a list after `in`, as in [\"a\", \"b\"], not a {of}");
                    return Err(InvalidFilter::new(list.at, what));
                }
            }
        }
    };
    Ok((Kind::Truth, Node::Among(Box::new([item, list]))))
}

fn comparison(sign: &'static str, sign_at: usize, [left, right]: &[Expression; 2]) -> Checked {
    let (kind, left) = typed(left)?;
    if kind.element().is_some() {
        return Err(InvalidFilter::new(sign_at, "lists are not compared: ask with `in`"));
    }
    if !matches!(sign, "==" | "!=") && !kind.has_order() {
        return Err(InvalidFilter::new(sign_at, format!("what is {kind} has no order: only == and != compare it")));
    }
    let right = expect(right, kind)?;
    Ok((Kind::Truth, Node::Compare(sign, Box::new([left, right]))))
}

fn arithmetic(sign: &'static str, sign_at: usize, [left, right]: &[Expression; 2]) -> Checked {
    let (a, left) = typed(left)?;
    let (b, right_node) = typed(right)?;
    let kind = match (a, sign, b) {
        (Kind::Number, _, Kind::Number) => Kind::Number,
        (Kind::Time, "-", Kind::Time) => Kind::Duration,
        (Kind::Time, "+" | "-", Kind::Duration) | (Kind::Duration, "+", Kind::Time) => Kind::Time,
        (Kind::Duration, "+" | "-", Kind::Duration) => Kind::Duration,
        (Kind::Number | Kind::Time | Kind::Duration, ..) => return Err(mismatch(right.at, a, b)),
        _ => return Err(InvalidFilter::new(sign_at, format!("{sign} does not go with a {a}"))),
    };
    Ok((kind, Node::Arithmetic(sign, Box::new([left, right_node]))))
}

fn call(at: usize, name: &str, given: &[Expression]) -> Checked {
    let known = ["has", "version", "timestamp", "duration", "size"];
    if !known.contains(&name) {
        let known = known.join("(), ");
        return Err(InvalidFilter::new(
            at,
            format!(
                "no such function as `{name}`: there are {known}(), and on texts .startsWith(), .endsWith(), .contains(), .lowerAscii() and .size()"
            ),
        ));
    }
    let [argument] = given else {
        return Err(InvalidFilter::new(at, format!("{name}() takes one argument, not {}", given.len())));
    };
    match name {
        "has" => match &argument.kind {
            Is::Name(name) => match field::find(name) {
                Some(field) => Ok((Kind::Truth, Node::Has(field))),
                None => Err(unknown(argument.at, name)),
            },
            _ => Err(InvalidFilter::new(argument.at, "has() takes the name of a field")),
        },
        "size" => size(argument),
        _ => constant(name, argument),
    }
}

/// A constant written as a text.
fn constant(name: &str, argument: &Expression) -> Checked {
    let Is::Text(text) = &argument.kind else {
        return Err(InvalidFilter::new(argument.at, format!("{name}() takes a quoted text")));
    };
    let refused = |what: &str| InvalidFilter::new(argument.at, what);
    let (kind, value) = match name {
        "version" if is_version(text) => (Kind::Version, Value::Version(text.clone().into())),
        "version" => return Err(refused("this is no version: it begins with a digit, as in 24.0.7")),
        "timestamp" => {
            let time = text.parse::<prost_types::Timestamp>();
            let time = time.map_err(|_| refused("expected RFC 3339, such as 2025-01-15T10:30:00Z"))?;
            let us = time.seconds.saturating_mul(1_000_000).saturating_add(i64::from(time.nanos) / 1_000);
            (Kind::Time, Value::Time(us))
        }
        _ => {
            let us = duration_us(text).ok_or_else(|| refused("expected a duration such as 90s, 24h or 7d"))?;
            (Kind::Duration, Value::Duration(us))
        }
    };
    Ok((kind, Node::Constant(value)))
}

fn size(of: &Expression) -> Checked {
    let (kind, node) = typed(of)?;
    if kind == Kind::Text || kind.element().is_some() {
        Ok((Kind::Number, Node::Size(Box::new(node))))
    } else {
        Err(InvalidFilter::new(of.at, format!("a {kind} has no size: a text or a list has")))
    }
}

fn method(on: &Expression, name: &str, name_at: usize, given: &[Expression]) -> Checked {
    let test = match name {
        "startsWith" => TextTest::StartsWith,
        "endsWith" => TextTest::EndsWith,
        "contains" => TextTest::Contains,
        "lowerAscii" if given.is_empty() => {
            return Ok((Kind::Text, Node::Lower(Box::new(expect_on(on, name, name_at)?))));
        }
        "size" if given.is_empty() => return size(on),
        "lowerAscii" | "size" => return Err(InvalidFilter::new(name_at, format!("{name}() takes nothing"))),
        "matches" => {
            let what = "regular expressions are not offered: use startsWith, endsWith or contains";
            return Err(InvalidFilter::new(name_at, what));
        }
        "exists" | "all" | "exists_one" | "map" | "filter" => {
            return Err(InvalidFilter::new(
                name_at,
                format!("{name}() is not offered: ask with `in`, as in 80 in ports.tcp"),
            ));
        }
        _ => {
            let what =
                format!("no such function as {name}: texts have startsWith, endsWith, contains, lowerAscii and size");
            return Err(InvalidFilter::new(name_at, what));
        }
    };
    let on = expect_on(on, name, name_at)?;
    let [argument] = given else {
        return Err(InvalidFilter::new(name_at, format!("{name}() takes one argument, not {}", given.len())));
    };
    Ok((Kind::Truth, Node::TextTest(test, Box::new([on, expect(argument, Kind::Text)?]))))
}

/// The text a method is called on; a mistake is the method's, where its name stands.
fn expect_on(on: &Expression, name: &str, name_at: usize) -> Result<Node, InvalidFilter> {
    let (kind, node) = typed(on)?;
    if kind == Kind::Text {
        Ok(node)
    } else {
        Err(InvalidFilter::new(name_at, format!("{name}() is asked of a text, not of a {kind}")))
    }
}
