//! Whether an image's mirror image still shows its class.

use std::collections::HashSet;

/// What the names of the classes say about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mirrors {
    Yes,
    /// Names of one character, or with a word of one letter.
    Characters,
    /// Some names that differ in a number only.
    Numbers,
    /// Names of a side or a direction.
    Sides,
}

/// Words that change places in a mirror.
const SIDES: [&str; 10] = [
    "left",
    "right",
    "lefthand",
    "righthand",
    "clockwise",
    "counterclockwise",
    "anticlockwise",
    "cw",
    "ccw",
    "rotated",
];

/// Words of which a mirror makes the other, where both are classes: each may mean something else on its own.
const OPPOSITES: [[&str; 2]; 9] = [
    ["east", "west"],
    ["port", "starboard"],
    ["links", "rechts"],
    ["gauche", "droite"],
    ["izquierda", "derecha"],
    ["esquerda", "direita"],
    ["sinistra", "destra"],
    ["влево", "вправо"],
    ["左", "右"],
];

const NUMERALS: [&str; 10] = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"];

impl Mirrors {
    /// Decides by names.
    pub fn of(classes: &[String]) -> Self {
        let is_side = |class: &String| {
            let lower = class.to_lowercase();
            lower.split(|c: char| !c.is_alphabetic()).any(|word| SIDES.contains(&word))
        };
        let is_word = |class: &String, word: &str| {
            class.to_lowercase().split(|c: char| !c.is_alphabetic()).any(|part| part == word)
        };
        let opposite = |pair: &[&str; 2]| pair.iter().all(|word| classes.iter().any(|class| is_word(class, word)));
        let is_numeral = |class: &&String| NUMERALS.contains(&class.to_lowercase().as_str());
        // "7", "sign_007", "90deg": alike but for the number.
        let frame = |class: &String| -> String { class.chars().filter(|c| !c.is_numeric()).collect() };
        let numbered = |class: &&String| class.chars().any(char::is_numeric);
        let mut frames = HashSet::new();
        let is_letter = |word: &str| word.chars().all(char::is_alphabetic) && word.chars().count() == 1;
        let has_letter = |class: &String| class.split(|c: char| !c.is_alphanumeric() && c != '\'').any(is_letter);
        match classes {
            [] => Self::Yes,
            _ if classes.iter().all(|class| class.chars().count() == 1) => Self::Characters,
            // Two are enough: beside signs there may be a class of none.
            _ if classes.iter().filter(numbered).any(|class| !frames.insert(frame(class))) => Self::Numbers,
            _ if classes.iter().filter(is_numeral).count() > 2 => Self::Numbers,
            _ if classes.iter().any(is_side) || OPPOSITES.iter().any(opposite) => Self::Sides,
            // "A", "B" and "space"; "a_lower" and "A_upper".
            _ if classes.iter().filter(|class| has_letter(class)).count() > 1 => Self::Characters,
            _ => Self::Yes,
        }
    }

    /// The rule in words.
    pub fn rule(self) -> &'static str {
        match self {
            Self::Yes => "no class is a character, a bare number or a side, so left and right are taken not to matter",
            Self::Characters => "class names of one letter suggest writing, which no mirror keeps",
            Self::Numbers => "numbered classes may be signs or angles, which no mirror keeps",
            Self::Sides => "a class is named for a side or a direction, which a mirror turns round",
        }
    }
}
