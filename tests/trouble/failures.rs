// SPDX-License-Identifier: GPL-3.0-or-later
//! Builds that fail: what the user sees first.

use crate::world::World;

#[test]
fn the_line_that_tells_why_is_shown_however_much_comes_after_it() {
    let world = World::new();
    let say = |line: &str| format!("say {line}\n");
    let phases = [
        say("starting phase `configure'"),
        say("main.c:1:1: error: of a trial"),
        say("phase `configure' succeeded after 0.1 seconds"),
        say("starting phase `build'"),
        say("main.c:3:5: error: expected ';' before 'return'"),
        // What other jobs of make go on with.
        say("cc -Werror -c error.c").repeat(200),
        say("make: *** [Makefile:7: main.o] Error 1"),
        "fail\n".to_owned(),
    ];
    world.tool("loud", &phases.concat());
    let (_, err) = world.expect(1, &["build", "loud"]);
    for part in [
        "loud: failed: the build of loud failed in phase `build'",
        "\n  | cc -Werror -c error.c\n",
        "\n  | make: *** [Makefile:7: main.o] Error 1\n",
        "\n  most likely: main.c:3:5: error: expected ';' before 'return'\n",
        " shell --of loud`",
    ] {
        assert!(err.contains(part), "{part}: {err}");
    }
    assert!(!err.contains("of a trial"), "{err}");
}
