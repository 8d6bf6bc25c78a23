//! Whether an image's mirror image still shows its class.

/// What the names of the classes say about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mirrors {
    Yes,
    /// Names of one character.
    Characters,
    /// Names that differ in a number only.
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

impl Mirrors {
    /// Decides by names.
    pub fn of(classes: &[String]) -> Self {
        let is_side = |class: &String| {
            let lower = class.to_lowercase();
            lower.split(|c: char| !c.is_alphabetic()).any(|word| SIDES.contains(&word))
        };
        // "7", "sign_007", "90deg": alike but for the number.
        let frame = |class: &String| -> String { class.chars().filter(|c| !c.is_numeric()).collect() };
        let numbered = |class: &String| class.chars().any(char::is_numeric);
        match classes {
            [] => Self::Yes,
            _ if classes.iter().all(|class| class.chars().count() == 1) => Self::Characters,
            [first, ..] if classes.iter().all(|class| numbered(class) && frame(class) == frame(first)) => Self::Numbers,
            _ if classes.iter().any(is_side) => Self::Sides,
            _ => Self::Yes,
        }
    }

    /// The rule in words.
    pub fn rule(self) -> &'static str {
        match self {
            Self::Yes => "no class is a character, a bare number or a side, so left and right are taken not to matter",
            Self::Characters => "class names of one character suggest writing, which no mirror keeps",
            Self::Numbers => "numbered classes may be signs or angles, which no mirror keeps",
            Self::Sides => "a class is named for a side or a direction, which a mirror turns round",
        }
    }
}
