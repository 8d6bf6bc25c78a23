//! Just enough of Python's literals to read a genotype out of a paper's repository or log.
//!
//! A call with keyword arguments whose values are lists, tuples, strings, whole numbers (`2`, `np.int64(2)`) and
//! `range(a, b)` (`list(range(a, b))`). What stands around the call (an assignment, a line of a log, another name for
//! the same) and comments are skipped. The result is JSON, so that one definition of the fields serves both forms.

use crate::{Error, Result};
use serde_json::{Map, Value};

/// Reads a genotype's text, `Genotype(key=value, …)` or JSON, as an object.
///
/// # Errors
/// Text of another form.
pub fn parse_genotype(text: &str) -> Result<Value> {
    match text.trim_start().starts_with('{') {
        true => serde_json::from_str(text).map_err(|e| Error::user(format!("this is not a genotype: {e}"))),
        false => parse_call(text, "Genotype"),
    }
}

/// Reads the one `NAME(key=value, …)` of a text as an object.
///
/// # Errors
/// No such call or several, and values of another form.
pub fn parse_call(text: &str, name: &str) -> Result<Value> {
    let mut reader = Reader { text, at: 0, name, depth: 0 };
    let Some(at) = call_of(text, name) else { return Err(reader.error(&format!("\"{name}(\""))) };
    reader.at = at;
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
    match call_of(&text[reader.at..], name) {
        None => Ok(Value::Object(fields)),
        Some(_) => {
            Err(Error::user(format!("this text holds more than one {name}(…)")).hint("give the one that is meant"))
        }
    }
}

/// Where the bracket of the first call of `name` stands.
fn call_of(text: &str, name: &str) -> Option<usize> {
    let within = |c: char| c.is_alphanumeric() || c == '_';
    let mut names = text.match_indices(name).map(|(at, _)| (at, at + name.len()));
    let is_call =
        |(at, end): &(usize, usize)| !text[..*at].ends_with(within) && text[*end..].trim_start().starts_with('(');
    names.find(is_call).map(|(_, end)| end)
}

/// The states of a cell one by one, `[[('sep_conv_3x3', 0), …], …]`, as the one list that the fields have: pairs where
/// every state has two edges, and triples (op, state, input) otherwise.
pub fn flatten_nodes(edges: &mut Value) {
    let Some(nodes) = edges.as_array() else { return };
    let is_edge = |edge: &Value| edge.as_array().is_some_and(|edge| edge.first().is_some_and(Value::is_string));
    let is_node = |node: &Value| node.as_array().is_some_and(|edges| edges.iter().all(is_edge));
    if nodes.is_empty() || !nodes.iter().all(is_node) {
        return;
    }
    let nodes: Vec<&Vec<Value>> = nodes.iter().filter_map(Value::as_array).collect();
    let in_pairs = nodes.iter().all(|edges| edges.len() == 2);
    let with_state = |state: usize, edge: &Value| match edge.as_array().map(Vec::as_slice) {
        Some([operation, input]) if !in_pairs => Value::from(vec![operation.clone(), state.into(), input.clone()]),
        _ => edge.clone(),
    };
    let mut flat = Vec::new();
    for (node, edges) in nodes.into_iter().enumerate() {
        flat.extend(edges.iter().map(|edge| with_state(node + 2, edge)));
    }
    *edges = flat.into();
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
            Some(c) if c.is_alphabetic() => {
                let mut word = self.word()?;
                while self.take('.') {
                    word = self.word()?;
                }
                self.expect('(')?;
                if word != "range" {
                    return self.wrapped(word);
                }
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

    /// What `list(…)`, `tuple(…)`, `int(…)` and numpy's `np.int64(…)` stand for: the value in their brackets.
    fn wrapped(&mut self, word: &str) -> Result<Value> {
        let (is_list, is_number) =
            (matches!(word, "list" | "tuple"), word.starts_with("int") || word.starts_with("uint"));
        if !is_list && !is_number {
            return Err(self.error(&format!("range(…), list(…), int(…) or a value in place of {word}(…)")));
        }
        self.deeper()?;
        let value = self.value()?;
        self.expect(')')?;
        self.depth -= 1;
        match (&value, is_list) {
            (Value::Array(_), true) | (Value::Number(_), false) => Ok(value),
            _ => Err(self.error(&format!("what {word}(…) takes"))),
        }
    }

    fn deeper(&mut self) -> Result<()> {
        self.depth += 1;
        match self.depth > 8 {
            true => Err(self.error("fewer nested lists")),
            false => Ok(()),
        }
    }

    fn list(&mut self, open: char, close: char) -> Result<Value> {
        self.expect(open)?;
        self.deeper()?;
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
        Error::user(format!("this is not a {}: expected {expected}, but {found}", name.to_lowercase())).hint(format!(
            "the form is {name}(normal=[('sep_conv_3x3', 0), …], normal_concat=range(2, 6), reduce=[…], \
             reduce_concat=range(2, 6))"
        ))
    }
}
