//! Just enough of Python's literals to read a genotype out of a paper's repository or log.
//!
//! A call with keyword arguments whose values are lists, tuples, strings, whole numbers and `range(a, b)`; an
//! assignment in front (`DARTS_V2 = Genotype(…)`) and comments are passed over. The result is JSON, so that one
//! definition of the fields serves both forms.

use crate::{Error, Result};
use serde_json::{Map, Value};

/// Reads `NAME(key=value, …)` as an object.
pub fn parse_call(text: &str, name: &str) -> Result<Value> {
    let mut reader = Reader { text, at: 0, name, depth: 0 };
    let mut word = reader.word()?;
    if word != name {
        reader.expect('=')?;
        word = reader.word()?;
    }
    if word != name {
        return Err(reader.error(&format!("\"{name}(\"")));
    }
    reader.expect('(')?;
    let mut fields = Map::new();
    while !reader.take(')') {
        let key = reader.word()?.to_string();
        reader.expect('=')?;
        let value = reader.value()?;
        if fields.insert(key.clone(), value).is_some() {
            return Err(Error::user(format!("\"{key}\" is given twice in this genotype")));
        }
        if !reader.take(',') {
            reader.expect(')')?;
            break;
        }
    }
    match reader.rest().is_empty() {
        true => Ok(Value::Object(fields)),
        false => Err(reader.error("the end")),
    }
}

/// Whether `key` is written out as a list, as in `normal_concat=[2, 3, 4, 5]`, rather than as a range.
pub fn is_listed(text: &str, key: &str) -> bool {
    let squeezed: String = text.chars().filter(|c| !c.is_whitespace()).collect();
    squeezed.contains(&format!("{key}=["))
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    name: &'a str,
    /// How many lists are open; bounded, so that no text can exhaust the stack.
    depth: usize,
}

impl<'a> Reader<'a> {
    /// What is left after white space and comments.
    fn rest(&mut self) -> &'a str {
        loop {
            let left = &self.text[self.at..];
            let trimmed = left.trim_start();
            self.at += left.len() - trimmed.len();
            match trimmed.strip_prefix('#') {
                Some(comment) => self.at += 1 + comment.find('\n').unwrap_or(comment.len()),
                None => return trimmed,
            }
        }
    }

    fn take(&mut self, c: char) -> bool {
        let found = self.rest().starts_with(c);
        if found {
            self.at += c.len_utf8();
        }
        found
    }

    fn expect(&mut self, c: char) -> Result<()> {
        match self.take(c) {
            true => Ok(()),
            false => Err(self.error(&format!("\"{c}\""))),
        }
    }

    fn word(&mut self) -> Result<&'a str> {
        self.run(|c| c.is_alphanumeric() || c == '_', "a name")
    }

    fn number(&mut self) -> Result<usize> {
        let digits = self.run(|c| c.is_ascii_digit(), "a number")?;
        digits.parse().map_err(|_| self.error("a smaller number"))
    }

    fn run(&mut self, belongs: impl Fn(char) -> bool, expected: &str) -> Result<&'a str> {
        let rest = self.rest();
        let end = rest.find(|c| !belongs(c)).unwrap_or(rest.len());
        if end == 0 {
            return Err(self.error(expected));
        }
        self.at += end;
        Ok(&rest[..end])
    }

    fn value(&mut self) -> Result<Value> {
        match self.rest().chars().next() {
            Some('[') => self.list('[', ']'),
            Some('(') => self.list('(', ')'),
            Some(quote @ ('\'' | '"')) => {
                self.at += 1;
                let rest = &self.text[self.at..];
                let end = rest.find(quote).ok_or_else(|| self.error("a closing quote"))?;
                self.at += end + 1;
                Ok(Value::from(&rest[..end]))
            }
            Some(c) if c.is_ascii_digit() => Ok(Value::from(self.number()?)),
            Some('r') if self.rest().starts_with("range") => {
                self.word()?;
                self.expect('(')?;
                let from = self.number()?;
                self.expect(',')?;
                let to = self.number()?;
                self.expect(')')?;
                if to > from.saturating_add(1000) {
                    return Err(self.error("a shorter range"));
                }
                Ok(Value::from((from..to).collect::<Vec<usize>>()))
            }
            _ => Err(self.error("a list, a pair, a string, a number or range(a, b)")),
        }
    }

    fn list(&mut self, open: char, close: char) -> Result<Value> {
        self.expect(open)?;
        self.depth += 1;
        if self.depth > 8 {
            return Err(self.error("fewer nested lists"));
        }
        let mut values = Vec::new();
        while !self.take(close) {
            values.push(self.value()?);
            if !self.take(',') {
                self.expect(close)?;
                break;
            }
        }
        self.depth -= 1;
        Ok(Value::from(values))
    }

    fn error(&mut self, expected: &str) -> Error {
        let name = self.name;
        let found: String = self.rest().chars().take(20).collect();
        let found = if found.is_empty() { "the text ends".to_string() } else { format!("there is \"{found}\"") };
        Error::user(format!("this is no {}: expected {expected}, but {found}", name.to_lowercase())).hint(format!(
            "the form is {name}(normal=[('sep_conv_3x3', 0), …], normal_concat=range(2, 6), reduce=[…], \
             reduce_concat=range(2, 6))"
        ))
    }
}
