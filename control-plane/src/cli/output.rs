//! Printing an answer in the format asked for.

use std::io::{IsTerminal as _, Write};

use clap::ValueEnum;
use serde::Serialize;

use super::{failure::Failure, yaml};

/// To the upper left corner, and everything below it erased.
const NEW_SCREEN: &str = "\u{1b}[H\u{1b}[J";

/// How to print.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Table,
    /// For programs: the REST API's field names. Streams print one object a line.
    Json,
    /// The same as YAML. Streams print one document an event.
    Yaml,
}

/// Where answers go.
pub struct Output<'a> {
    format: Format,
    out: &'a mut dyn Write,
}

impl<'a> Output<'a> {
    /// Prints to `out` as `format`.
    pub fn new(format: Format, out: &'a mut dyn Write) -> Self {
        Self { format, out }
    }

    /// The format asked for.
    pub fn format(&self) -> Format {
        self.format
    }

    /// For what is no answer but a text of its own.
    pub fn raw(&mut self) -> &mut dyn Write {
        self.out
    }

    /// Begins a new screen for people who look at one.
    ///
    /// # Errors
    /// When nobody reads any more.
    pub fn clear(&mut self) -> Result<(), Failure> {
        if self.format == Format::Table && std::io::stdout().is_terminal() { self.line(NEW_SCREEN) } else { Ok(()) }
    }

    /// Prints `answer`; `table` draws it for people.
    ///
    /// # Errors
    /// When nobody reads any more.
    pub fn print<T: Serialize + ?Sized>(
        &mut self,
        answer: &T,
        table: impl FnOnce(&T) -> String,
    ) -> Result<(), Failure> {
        let text = match self.format {
            Format::Table => table(answer),
            Format::Json => serde_json::to_string_pretty(answer).map_err(unprintable)?,
            Format::Yaml => yaml::to_string(&serde_json::to_value(answer).map_err(unprintable)?),
        };
        self.line(text.trim_end())
    }

    /// Prints one item of a stream: a line for people, an object a line or a document for programs.
    ///
    /// # Errors
    /// When nobody reads any more.
    pub fn item<T: Serialize>(&mut self, item: &T, line: impl FnOnce(&T) -> String) -> Result<(), Failure> {
        let text = match self.format {
            Format::Table => line(item),
            Format::Json => serde_json::to_string(item).map_err(unprintable)?,
            Format::Yaml => format!("---\n{}", yaml::to_string(&serde_json::to_value(item).map_err(unprintable)?)),
        };
        if text.is_empty() { Ok(()) } else { self.line(text.trim_end()) }
    }

    /// Prints one item as a line of JSON, whatever was asked for: programs read it back.
    ///
    /// # Errors
    /// When nobody reads any more.
    pub fn always_json<T: Serialize>(&mut self, item: &T) -> Result<(), Failure> {
        let text = serde_json::to_string(item).map_err(unprintable)?;
        self.line(&text)
    }

    fn line(&mut self, text: &str) -> Result<(), Failure> {
        writeln!(self.out, "{text}").and_then(|()| self.out.flush()).map_err(|error| {
            Failure::ended_badly(format!("the output can't be written: {error}"), "check where the output goes")
        })
    }
}

fn unprintable(error: serde_json::Error) -> Failure {
    Failure::ended_badly(
        format!("the answer can't be printed: {error}"),
        "ask in another format: -o table, json or yaml",
    )
}
