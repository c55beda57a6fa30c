// SPDX-License-Identifier: GPL-3.0-or-later
//! Builds that fail: what the user sees first.

use crate::world::World;

#[test]
fn the_line_that_tells_why_is_shown_however_much_comes_after_it() {
    let world = World::new();
    let say = |line: &str| format!("say {line}\n");
    let phases = [
        // A backtick alone is a syntax error: to a shell what follows is a document, and the builder skips this line.
        ": <<'END'\n".to_owned(),
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

#[test]
fn the_log_that_holds_the_cause_is_quoted() {
    let world = World::new();
    let lines = |lines: &[&str]| lines.join("\n") + "\n";
    world.tool(
        "unconfigured",
        &lines(&[
            ": <<'END'",
            "say of another phase",
            "say starting phase `configure'",
            "write config.log configure:7: checking for x",
            "write config.log ld: cannot find -lx",
            "write config.log configure:9: error: no x",
            "say configure: error: no x",
            "fail",
        ]),
    );
    let (_, err) = world.expect(1, &["build", "unconfigured"]);
    let quoted = "\n  | from config.log:\n  | configure:7: checking for x\n  | ld: cannot find -lx\n  | configure:9: error: no x\n";
    assert!(err.contains(quoted), "{err}");
    assert!(!err.contains("of another phase"), "{err}");
    world.tool(
        "untested",
        &lines(&[
            ": <<'END'",
            "say starting phase `check'",
            "mkdir tests",
            "write tests/big.log out-of-memory",
            "say FAIL: tests/big.sh",
            "fail",
        ]),
    );
    let (_, err) = world.expect(1, &["build", "untested"]);
    let quoted = "\n  | from tests/big.log:\n  | out-of-memory\n";
    assert!(err.contains(quoted), "{err}");
}

#[test]
fn a_syntax_error_in_phases_is_found_before_anything_is_built() {
    let world = World::new();
    world.tool("unread", ":\nif :; then\n    fi\n");
    let (_, err) = world.expect(2, &["build", "unread"]);
    for part in ["recipes/unread/phases.sh:4:5", "shell syntax error: "] {
        assert!(err.contains(part), "{part}: {err}");
    }
    assert!(!world.path("root/gnu/store").exists(), "{err}");
    // The phases that all recipes share, too, and nothing is wrong with those of the world.
    let world = World::new();
    world.expect(0, &["list"]);
    world.file("stage0/more.sh", ":\ncase x in\n");
    let (_, err) = world.expect(2, &["build", "tool"]);
    assert!(err.contains("stage0/more.sh:2:"), "{err}");
}
