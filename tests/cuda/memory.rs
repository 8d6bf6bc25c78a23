//! Training within a limit on memory: the same bits, whatever is recomputed, in less of the device's memory.

use crate::networks::{bits, families, on_shim};
use crate::shim::Shim;
use candlewick::engine::{Engine, Mode};
use std::sync::{Arc, Mutex};

/// The least bytes within which an engine trains a batch of this many images.
fn least(engine: &Engine, images: usize) -> u64 {
    let trains = |bytes: u64| {
        let engine = engine.clone().within(bytes, Arc::new(|_: &str| {}));
        engine.and_then(|engine| engine.memory(images)).is_ok()
    };
    let (mut too_little, mut enough) = (0, engine.memory(images).expect("it has no limit"));
    while enough - too_little > 1 {
        let middle = too_little.midpoint(enough);
        if trains(middle) { enough = middle } else { too_little = middle }
    }
    enough
}

#[test]
fn bits_are_the_same_within_any_limit() {
    let mut limited = 0;
    for case in families() {
        let Some(shim) = Shim::new(0) else { return };
        let engine = on_shim(&case, shim);
        let (free, usual) = (bits(&case, &engine, Mode::Training), engine.memory(3).expect("it has no limit"));
        let least = least(&engine, 3);
        if least == usual {
            continue;
        }
        limited += 1;
        for bytes in [least, least.midpoint(usual)] {
            let told = Arc::new(Mutex::new(Vec::new()));
            let listener = told.clone();
            let report = Arc::new(move |line: &str| listener.lock().expect("lines").push(line.to_string()));
            let tight = engine.clone().within(bytes, report).expect("it fits");
            assert!(bits(&case, &tight, Mode::Training) == free, "{} within {bytes} bytes", case.name);
            assert!(tight.memory(3).expect("it fits") <= bytes, "{}", case.name);
            let lines = told.lock().expect("lines");
            assert!(lines.len() == 1 && lines[0].contains("are recomputed"), "{}: {lines:?}", case.name);
        }
    }
    // Each layer of a small DenseNet needs almost all that is kept.
    assert!(limited >= 7, "{limited} families");
}
