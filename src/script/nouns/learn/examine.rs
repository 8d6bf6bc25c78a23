//! What a network makes of each image of a set, as scripts see it: numbers, a table, and two charts.

use crate::chart::{self, Confusion, Figure, Picture, Pictures};
use crate::data::ImageSet;
use crate::learn::{ClassScore, Examination, Verdict, examine};
use crate::script::binding::{Library, List, Options, ScriptType};
use crate::script::nouns::network::SMALL;
use crate::script::nouns::network::saved::{as_seen_by, legend_of};
use crate::script::nouns::run::save_figure;
use crate::script::nouns::table::{aligned, cell};
use crate::space::Network;
use crate::{Error, Result};
use rhai::{Array, Dynamic, Map};
use std::fmt;
use std::sync::Arc;

/// The answers of a network to a set's images. Clones share them.
#[derive(Clone)]
pub struct Examined(Arc<Answers>);

struct Answers {
    found: Examination,
    set: ImageSet,
    classes: Vec<String>,
}

/// What examples begin with.
const EXAMINED: &str = r#"
    let data = images("digits");
    let net = discrete(genotype("DARTS_V1"), #{ images: data, channels: 2, layers: 3 });
    let found = examine(net, data.test.take(50));
"#;

pub fn declare(library: &mut Library) {
    library.kind::<Examined>("The answers of a network to every image of a set.");
    library
        .function("examine", &["net", "set", "options"], |net: Network, set: ImageSet, options: Options| {
            let device = net.weights().device();
            let batches = as_seen_by(&net, &set)?.batches_in_order(options.get("batch")?)?;
            let found = examine(&net, batches.map(|batch| batch?.to_device(device)))?;
            Ok(Examined(Arc::new(Answers { found, set, classes: legend_of(&net).classes })))
        })
        .doc(
            r#"
            Asks a network about every image of a set, in order and not augmented, and keeps the answers: where it is
            wrong, what it takes for what, and how far its probabilities can be trusted.
            "#,
        )
        .option("batch", 256_usize, "images at once")
        .example_after(
            SMALL,
            r#"
            let found = examine(net, images("digits").test.take(32));
            assert_equal(found.accuracy, evaluate(net, images("digits").test.take(32)).accuracy);
            "#,
        );
    declare_numbers(library);
    declare_charts(library);
}

fn declare_numbers(library: &mut Library) {
    library
        .property("accuracy", |examined: Examined| Ok(examined.0.found.accuracy()))
        .doc("The share of images that are named right.")
        .example_after(EXAMINED, "assert(found.accuracy <= 1.0);");
    library
        .property("confidence", |examined: Examined| Ok(examined.0.found.confidence()))
        .doc("The mean probability that the network gives its answers; as large as the accuracy, if it is honest.")
        .example_after(EXAMINED, "assert(found.confidence > 0.0);");
    library
        .property("calibration_error", |examined: Examined| Ok(examined.0.found.calibration_error()))
        .doc(
            r#"
            The expected calibration error: the mean distance between the network's probabilities and the share of right
            answers, over 15 intervals of probability (Guo et al. 2017, equation 3). 0.02 means that of answers given
            with 90 % about 88 to 92 in a hundred are right.
            "#,
        )
        .example_after(EXAMINED, "assert(found.calibration_error < 1.0);");
    library
        .property("confusion", |examined: Examined| {
            Ok(List(examined.0.found.confusion().into_iter().map(List).collect::<Vec<_>>()))
        })
        .doc("Counts of images: `confusion[i][j]` are of class i and taken for class j.")
        .example_after(EXAMINED, "assert(found.confusion.len() == 10);");
    library
        .property("classes", |examined: Examined| {
            let Answers { found, classes, .. } = &*examined.0;
            let share = |share: Option<f64>| share.map_or(Dynamic::UNIT, Dynamic::from_float);
            let of = |(name, score): (&String, ClassScore)| {
                Dynamic::from_map(Map::from([
                    ("name".into(), name.clone().into()),
                    ("count".into(), (score.count as i64).into()),
                    ("recall".into(), share(score.recall)),
                    ("precision".into(), share(score.precision)),
                ]))
            };
            Ok(classes.iter().zip(found.class_scores()).map(of).collect::<Array>())
        })
        .doc(
            r#"
            A map for each class: its `name`, the `count` of its images, the `recall` (the share of them that is named
            right) and the `precision` (the share right of the images that are taken for it), `()` where there are none.
            "#,
        )
        .example_after(EXAMINED, "assert(found.classes[3].name == \"3\");");
    library
        .property("table", |examined: Examined| Ok(examined.table()))
        .doc("The classes with counts, recall and precision as lines of text, in columns.")
        .example_after(EXAMINED, "print(found.table);");
    library
        .method("mistakes", &["examination", "count"], |examined: Examined, count: usize| {
            Ok(examined.mistakes(count).map(|index| examined.mistake(index)).collect::<Array>())
        })
        .doc(
            r#"
            At most `count` images that are named wrong, those first of whose wrong class the network is surest: maps
            with the `index` in the set, the `file` (`()` where files hold many images), the `label`, the `answer` and
            its `probability`.
            "#,
        )
        .example_after(EXAMINED, "for one in found.mistakes(3) { print(`${one.label} taken for ${one.answer}`); }");
}

fn declare_charts(library: &mut Library) {
    let host = library.host();
    library
        .method("draw_confusion", &["examination", "file"], move |examined: Examined, file: String| {
            let Answers { found, set, classes } = &*examined.0;
            let title = format!("{}: what is taken for what", set.name());
            let classes = classes.iter().map(|name| cell(name)).collect();
            let chart = Confusion { title, classes, counts: found.confusion() };
            save_figure(&host, &Figure::Confusion(chart.legible()), &file)
        })
        .doc(
            r#"
            Draws the confusion matrix into the run folder, as `FILE.svg` and `FILE.png`: rows for what images are,
            columns for what the network says; of more than 40 classes those with the most mistakes. Gives the PNG file.
            "#,
        )
        .example_after(EXAMINED, r#"print(found.draw_confusion("plots/confusion"));"#);
    let host = library.host();
    library
        .method(
            "draw_mistakes",
            &["examination", "file", "options"],
            move |examined: Examined, file: String, options: Options| {
                let count: usize = options.get("count")?;
                if !(1..=200).contains(&count) {
                    return Err(Error::user(format!("a sheet of {count} pictures")).hint("1 to 200"));
                }
                let items =
                    examined.mistakes(count).map(|index| examined.picture(index)).collect::<Result<Vec<_>>>()?;
                if items.is_empty() {
                    return Ok(Dynamic::UNIT);
                }
                let all = examined.mistakes(usize::MAX).count();
                let title = match all > items.len() {
                    true => format!("The {} surest of {all} mistakes", items.len()),
                    false => format!("All {all} mistakes"),
                };
                let path = host.writable(&format!("{file}.png"))?;
                chart::save_png(Pictures { title, columns: 5, items }, &path)?;
                Ok(path.display().to_string().into())
            },
        )
        .doc(
            r#"
            Draws a contact sheet of the mistakes of which the network is surest into the run folder, as `FILE.png`:
            each picture as the network sees it, with its class, the answer and its probability, and its file. Gives the
            file, or `()` where there are no mistakes.
            "#,
        )
        .option("count", 10_usize, "pictures, at most")
        .example_after(EXAMINED, r#"print(found.draw_mistakes("plots/mistakes"));"#);
}

impl Examined {
    fn mistakes(&self, count: usize) -> impl Iterator<Item = usize> {
        self.0.found.mistakes().into_iter().take(count)
    }

    fn mistake(&self, index: usize) -> Dynamic {
        let Answers { found, set, classes } = &*self.0;
        let Verdict { label, answer, probability } = found.verdicts()[index];
        Dynamic::from_map(Map::from([
            ("index".into(), (index as i64).into()),
            ("file".into(), set.file(index).map_or(Dynamic::UNIT, |file| file.to_string().into())),
            ("label".into(), classes[label].clone().into()),
            ("answer".into(), classes[answer].clone().into()),
            ("probability".into(), probability.into()),
        ]))
    }

    fn picture(&self, index: usize) -> Result<Picture> {
        let Answers { found, set, classes } = &*self.0;
        let Verdict { label, answer, probability } = found.verdicts()[index];
        let shown = set.shown(index).ok_or_else(|| set.beyond(index))?;
        let shape = set.shape();
        let plane = shape.height * shape.width;
        let value = |channel: usize, pixel: usize| shown[channel.min(shape.channels - 1) * plane + pixel];
        let file = set.file(index).map(|file| cell(file.rsplit('/').next().unwrap_or(file)));
        let mut lines =
            vec![cell(&classes[label]), format!("says {}, {:.0} %", cell(&classes[answer]), 100.0 * probability)];
        lines.extend(file);
        Ok(Picture {
            width: shape.width,
            height: shape.height,
            pixels: (0..plane).map(|pixel| [0, 1, 2].map(|channel| value(channel, pixel))).collect(),
            lines,
        })
    }

    fn table(&self) -> String {
        let Answers { found, classes, .. } = &*self.0;
        let share = |share: Option<f64>| share.map_or("–".into(), |share| format!("{share:.3}"));
        let head = ["class", "images", "recall", "precision"].map(String::from);
        let row = |(name, score): (&String, ClassScore)| {
            [cell(name), score.count.to_string(), share(score.recall), share(score.precision)]
        };
        let rows = classes.iter().zip(found.class_scores()).map(row);
        aligned(&std::iter::once(head).chain(rows).collect::<Vec<_>>())
    }
}

impl ScriptType for Examined {
    const NAME: &'static str = "examination";
}

impl fmt::Display for Examined {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let found = &self.0.found;
        let (all, right) = (found.verdicts().len(), found.verdicts().iter().filter(|v| v.is_right()).count());
        write!(f, "answers to {all} images, {right} of them right")
    }
}
