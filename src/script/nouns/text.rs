//! The noun `text`: streams of tokens and the windows that training takes from them, as scripts see them. The work is
//! done in [`crate::data::text`].

use super::data::on_device;
use crate::data::text::{
    self, Jitter, Punctuation, Stream, Text, TextOptions, TextSource, Unit, Window, WindowOptions, WindowPosition,
    Windows,
};
use crate::error::closest;
use crate::random::Seed;
use crate::script::binding::{Argument, Library, List, Mismatch, Options, ScriptType};
use crate::script::host::Host;
use crate::script::nouns::Tensor;
use crate::{Error, Result};
use rand::Rng;
use rhai::Dynamic;
use std::fmt;

pub fn declare(library: &mut Library) {
    library.noun("text", "Text as numbers, and the windows that language models learn from.");
    declare_text(library);
    declare_streams(library);
    declare_windows(library);
    declare_window(library);
}

fn declare_text(library: &mut Library) {
    let host = library.host();
    library
        .function("text", &["source", "options"], move |source: String, options: Options| {
            open(&host, &source, &options)
        })
        .doc(
            r#"
            Reads a text into memory. `source` is "austen" (the novel Pride and Prejudice, inside the binary), a folder
            that the script may read with three files whose names say "train", "valid" and "test" (`ptb.train.txt`,
            `wiki.valid.tokens` …), or one file, which is cut: the first 90 % of its tokens are training text, the next
            5 % validation text, the rest test text (so is the novel). Files are UTF-8; a byte-order mark at the
            beginning is left out, anything else that is not UTF-8 is an error that names the line. A line ends in a
            line feed, with or without a carriage return before it, or with the file; it gives its tokens and then
            `<eos>`, an empty line `<eos>` alone. A word is what stands between white space, so text without spaces is
            one word a line: take characters there. The vocabulary is made of the training text, its most frequent
            words first. Where `least` or `vocabulary` leave words out, these and all that only the other two texts have
            become `<unk>`; where they do not, such a word is an error.
            "#,
        )
        .option("unit", "word".to_string(), r#"what a token is: "word" or "character" (white space too)"#)
        .optional::<String>(
            "punctuation",
            r#""apart" in "austen", "attached" elsewhere"#,
            r#""attached": marks stay on their words, as in divided text; "apart": they are tokens of their own"#,
        )
        .option("lowercase", false, "make all letters small")
        .optional::<usize>(
            "vocabulary",
            "no limit",
            "the most words, `<eos>` and `<unk>` included: the most frequent of the training text",
        )
        .optional::<usize>(
            "least",
            "2 where one text is cut, 1 where there are three",
            "how often a word must occur in the training text to be in the vocabulary",
        )
        .optional::<List<String>>(
            "words",
            "those of the training text",
            "the vocabulary by id, as `words` of another text gives it; words not in it are `<unk>` if that is in it",
        )
        .example(
            r#"
            let data = text("austen", #{ vocabulary: 2000 });
            assert(data.vocabulary == 2000);
            let letters = text("austen", #{ unit: "character" });
            assert(letters.vocabulary < 100);
            "#,
        );
    library.kind::<Text>("A text as numbers: three streams of tokens and their vocabulary.");
    library
        .property("train", |text: Text| Ok(text.train))
        .doc("The tokens to learn from.")
        .example(r#"assert(text("austen").train.len() > 130000);"#);
    library
        .property("valid", |text: Text| Ok(text.valid))
        .doc("The tokens by which a search or a training run chooses.")
        .example(r#"assert(text("austen").valid.len() > 7000);"#);
    library
        .property("test", |text: Text| Ok(text.test))
        .doc("The tokens that no search and no training should see.")
        .example(r#"assert(text("austen").test.len() > 7000);"#);
    library
        .property("vocabulary", |text: Text| Ok(text.vocabulary().len()))
        .doc("How many tokens have a number: ids are below it.")
        .example(r#"assert(text("austen", #{ vocabulary: 500 }).vocabulary == 500);"#);
    library
        .property("words", |text: Text| Ok(List(text.vocabulary().words().to_vec())))
        .doc("The vocabulary: the word of every id.")
        .example(r#"assert(text("austen").words[0] == "<eos>");"#);
    library
        .property("name", |text: Text| Ok(text.name().to_string()))
        .doc("The text's name, for titles: that of the folder or file.")
        .example(r#"assert(text("austen").name == "austen");"#);
    library
        .method("encode", &["text", "words"], |text: Text, words: String| {
            Ok(List(text.encode(&words)?.into_iter().map(|id| id as usize).collect()))
        })
        .doc("The ids of a text, which is divided as the data were. A line feed in it is `<eos>`; none is added.")
        .example(
            r#"
            let data = text("austen");
            assert(data.encode("a single man.").len() == 4);
            "#,
        );
    library
        .method("decode", &["text", "ids"], |text: Text, ids: Ids| text.decode(&ids.0))
        .doc("The text of ids, an array or a tensor: words with a space between them, `<eos>` as a line feed.")
        .example(
            r#"
            let data = text("austen");
            assert_equal(data.decode(data.encode("It is a truth, my dear.")), "It is a truth, my dear.");
            "#,
        );
}

fn declare_streams(library: &mut Library) {
    library.kind::<Stream>("The tokens of a text in order.");
    library
        .method("len", &["stream"], |stream: Stream| Ok(stream.len()))
        .doc("Tokens, every line's `<eos>` included.")
        .example(r#"assert(text("austen").train.take(1000).len() == 1000);"#);
    library
        .method("take", &["stream", "count"], |stream: Stream, count: usize| stream.take(count))
        .doc("The first `count` tokens.")
        .example(r#"assert(text("austen").test.take(50).len() == 50);"#);
    let host = library.host();
    library
        .method("columns", &["stream", "batch"], move |stream: Stream, batch: usize| {
            let rows = stream.rows(batch)?;
            host.meter.admit(&[rows, batch], size_of::<u32>())?;
            let columns = candle_core::Tensor::from_vec(stream.columns(batch)?, (rows, batch), host.device())?;
            Ok(Tensor::new(&host.meter, columns))
        })
        .doc(
            r#"
            The stream cut into `batch` columns of equal length, as a tensor of ids [time, batch]: the first column is
            the stream's beginning. What is left over at the end is dropped.
            "#,
        )
        .example(r#"assert(text("austen").train.take(103).columns(10).shape == [10, 10]);"#);
    let host = library.host();
    library
        .method("windows", &["stream", "batch", "options"], move |stream: Stream, batch: usize, options: Options| {
            let options = WindowOptions {
                length: options.get("length")?,
                jitter: Jitter::parse(&options.get::<String>("jitter")?)?,
            };
            // The k-th call of a script has the k-th seed, as for batches.
            let seed = Seed(host.draw("windows").next_u64());
            Windows::new(&stream, batch, options, seed, "windows")
        })
        .doc(
            r#"
            Windows of time over the stream's `batch` columns, for backpropagation through time: each goes on where the
            one before ended. Their lengths follow from the run's seed, the epoch and the window's index in it.
            `jitter` is "none" (all of one length, but for an epoch's last; for validation and test), "search" (once in
            twenty half the length) or "evaluation" (normal around that with a standard deviation of 5, at least 5 and
            at most the length + 20), as in the language models of DARTS; both leave out a last window of one step.
            "#,
        )
        .option("length", 35_usize, "time steps of a window")
        .option("jitter", "none".to_string(), r#"how lengths vary: "none", "search" or "evaluation""#)
        .example(
            r#"
            let train = text("austen").train.windows(32, #{ jitter: "search" });
            let window = train.next();
            assert(window.x.shape == [window.length, 32] && window.y.shape == window.x.shape);
            "#,
        );
}

fn declare_windows(library: &mut Library) {
    library.kind::<Windows>("Windows of time over the columns of a stream, epoch after epoch.");
    library
        .method("len", &["windows"], |windows: Windows| Ok(windows.len(windows.position().epoch)))
        .doc("Windows in the epoch that `next` stands in; where lengths vary, so does their number.")
        .example(r#"assert(text("austen").test.take(101).windows(1, #{ length: 10 }).len() == 10);"#);
    library
        .method("next", &["windows"], |windows: Windows| windows.next())
        .doc("The next window, without end: where an epoch is over, the next begins.")
        .example(
            r#"
            let valid = text("austen").valid.take(21).windows(1, #{ length: 15 });
            assert(valid.next().length == 15);
            assert(valid.next().length == 5);
            assert(valid.next().start == 0);
            "#,
        );
    library
        .method("epoch", &["windows", "number"], |windows: Windows, number: usize| {
            Ok(WindowEpoch { windows, number: number as u64 })
        })
        .doc("The windows of epoch `number` (from 0), to loop over. Where `next` stands does not change.")
        .example(
            r#"
            let steps = 0;
            for window in text("austen").test.take(101).windows(1).epoch(0) { steps += window.length; }
            assert(steps == 100);
            "#,
        );
    library
        .method("at", &["windows", "start"], |windows: Windows, start: usize| windows.at(start))
        .doc(
            r#"
            The window that begins at time step `start` mod (steps − 1), of the length of the options or what is left of
            the columns: the validation window of a search step, at the place of its training window.
            "#,
        )
        .example(
            r#"
            let valid = text("austen").valid.take(100).windows(2);
            assert(valid.at(3).start == 3 && valid.at(3).length == 35);
            assert(valid.at(49 + 3).start == 3);
            "#,
        );
    library
        .property("steps", |windows: Windows| Ok(windows.rows()))
        .doc("Time steps of the columns: tokens of each.")
        .example(r#"assert(text("austen").valid.take(103).windows(2).steps == 51);"#);
    library
        .property("dropped", |windows: Windows| Ok(windows.dropped()))
        .doc("Tokens at the end of the stream that fill no step of the columns.")
        .example(r#"assert(text("austen").valid.take(103).windows(2).dropped == 1);"#);
    library
        .property("position", |windows: Windows| {
            let WindowPosition { epoch, index } = windows.position();
            Ok(List(vec![epoch as usize, index]))
        })
        .writable(|windows: Windows, position: List<usize>| match position.0[..] {
            [epoch, index] => windows.set_position(WindowPosition { epoch: epoch as u64, index }),
            _ => Err(Error::user("a position is [epoch, window]").hint("for the very first window: [0, 0]")),
        })
        .doc("Where `next` stands: [epoch, window] of the window that it will give.")
        .example(
            r#"
            let train = text("austen").train.windows(32, #{ jitter: "evaluation" });
            train.next();
            let second = train.next();
            assert(train.position == [0, 2]);
            train.position = [0, 1];
            assert(train.next().start == second.start);
            "#,
        );
    library.kind::<WindowEpoch>("The windows of one epoch, for a `for` loop; it may be walked again.");
    library.iterable::<WindowEpoch>();
    library
        .method("len", &["epoch"], |epoch: WindowEpoch| Ok(epoch.windows.len(epoch.number)))
        .doc("Windows in the epoch.")
        .example(r#"assert(text("austen").test.take(101).windows(1).epoch(0).len() == 3);"#);
}

fn declare_window(library: &mut Library) {
    library.kind::<Window>("Tokens of some time steps, and the tokens that follow each.");
    let (x, y) = (library.host(), library.host());
    library
        .property("x", move |window: Window| on_device(&x, &window.x))
        .doc("The tokens, [time, batch]: ids from 0.")
        .example(r#"print(text("austen").train.windows(4, #{ length: 3 }).next().x);"#);
    library
        .property("y", move |window: Window| on_device(&y, &window.y))
        .doc("The token after each of `x`, [time, batch].")
        .example(r#"print(text("austen").train.windows(4, #{ length: 3 }).next().y);"#);
    library
        .property("length", |window: Window| Ok(window.length()))
        .doc("Time steps.")
        .example(r#"assert(text("austen").train.windows(4).next().length == 35);"#);
    library
        .property("start", |window: Window| Ok(window.start))
        .doc("The time step of the columns that it begins at; 0 begins an epoch, and the hidden state with it.")
        .example(r#"assert(text("austen").train.windows(4).next().start == 0);"#);
}

/// A text by name, or a folder or file that the script may read.
fn open(host: &Host, name: &str, options: &Options) -> Result<Text> {
    let punctuation = options.find::<String>("punctuation")?;
    let settings = TextOptions {
        unit: Unit::parse(&options.get::<String>("unit")?)?,
        punctuation: punctuation.map(|name| Punctuation::parse(&name)).transpose()?,
        lowercase: options.get("lowercase")?,
        vocabulary: options.find("vocabulary")?,
        least: options.find("least")?,
        words: options.find::<List<String>>("words")?.map(|words| words.0),
    };
    let source = match TextSource::parse(name) {
        TextSource::Path(_) => {
            TextSource::Path(host.readable(name).map_err(|error| match closest(name, TextSource::NAMES) {
                Some(near) => error.hint(format!("did you mean \"{near}\"?")),
                None => error,
            })?)
        }
        known => known,
    };
    let text = text::read(&source, &settings)?;
    host.note_data(name, &text.list)?;
    Ok(text)
}

/// Token ids: an array of ints or a tensor of them, whatever its shape.
struct Ids(Vec<usize>);

impl Argument for Ids {
    fn describe() -> String {
        "[int] or tensor".into()
    }

    fn read(value: &Dynamic) -> Result<Self, Mismatch> {
        let Some(tensor) = value.read_lock::<Tensor>() else {
            return List::<usize>::read(value).map(|ids| Self(ids.0));
        };
        let ids = || Ok(tensor.indices()?.flatten_all()?.to_vec1::<u32>()?);
        let ids = ids().map_err(Mismatch::Error)?;
        Ok(Self(ids.into_iter().map(|id| id as usize).collect()))
    }
}

/// One epoch's windows: not yet begun, so that a script may walk them twice.
#[derive(Clone)]
pub struct WindowEpoch {
    windows: Windows,
    number: u64,
}

impl IntoIterator for WindowEpoch {
    type Item = Result<Dynamic>;
    type IntoIter = Box<dyn Iterator<Item = Result<Dynamic>>>;

    fn into_iter(self) -> Self::IntoIter {
        Box::new(self.windows.epoch(self.number).map(|window| window.map(Dynamic::from)))
    }
}

impl ScriptType for Text {
    const NAME: &'static str = "text";
}

impl ScriptType for Stream {
    const NAME: &'static str = "stream";
}

impl ScriptType for Windows {
    const NAME: &'static str = "windows";
}

impl ScriptType for WindowEpoch {
    const NAME: &'static str = "window_epoch";
}

impl ScriptType for Window {
    const NAME: &'static str = "window";
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (train, valid, test) = (self.train.len(), self.valid.len(), self.test.len());
        let (name, words) = (self.name(), self.vocabulary().len());
        write!(f, "{name}: {train} training, {valid} validation and {test} test tokens, {words} words")
    }
}

impl fmt::Display for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} tokens of {} words", self.len(), self.vocabulary().len())
    }
}

impl fmt::Display for Windows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (length, batch, rows) = (self.options().length, self.batch(), self.rows());
        write!(f, "windows of {length} steps over {batch} columns of {rows}, {} tokens dropped", self.dropped())
    }
}

impl fmt::Display for WindowEpoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "epoch {}: {} windows", self.number, self.windows.len(self.number))
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a window of {} steps by {} columns", self.length(), self.columns())
    }
}
