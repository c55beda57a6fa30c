// SPDX-License-Identifier: GPL-3.0-or-later
//! `builtin:git-download`, from a server on this machine.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use bootstrap::formats::derivation::{Derivation, DerivationSet, Output, aterm, instantiate};
use bootstrap::formats::hash::Sha256Digest;
use bootstrap::formats::nar::Tree;
use bootstrap::formats::store_path::FixedOutputMethod;

use crate::server::serve_answers;
use crate::site::Site;
use crate::stored::expect;

fn git(directory: &Path, arguments: &[&str]) {
    let identity = [
        "-c",
        "user.name=x",
        "-c",
        "user.email=x@example.org",
        "-c",
        "init.defaultBranch=main",
        "-c",
        "protocol.file.allow=always",
    ];
    let status = Command::new("git")
        .current_dir(directory)
        .args(identity)
        .args(arguments)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .status();
    assert!(status.unwrap().success(), "{arguments:?}");
}

/// A repository `name` in `directory` with `file`, a link and a tag `v1`, published for servers that know nothing of
/// git; with `submodule`, that is a module of it.
fn repository(directory: &Path, name: &str, submodule: Option<&str>) {
    let work = directory.join(format!("{name}.work"));
    fs::create_dir(&work).unwrap();
    git(&work, &["init", "-q"]);
    fs::write(work.join("file"), format!("of {name}\n")).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", work.join("link")).unwrap();
    if let Some(url) = submodule {
        let bare = directory.join("module.git");
        git(
            &work,
            &[
                "submodule",
                "--quiet",
                "add",
                bare.to_str().unwrap(),
                "module",
            ],
        );
        git(
            &work,
            &["config", "-f", ".gitmodules", "submodule.module.url", url],
        );
    }
    git(&work, &["add", "-A"]);
    git(&work, &["commit", "-q", "-m", "one"]);
    git(&work, &["tag", "v1"]);
    fs::write(work.join("file"), "later\n").unwrap();
    git(&work, &["commit", "-q", "-a", "-m", "two"]);
    let bare = format!("{name}.git");
    git(
        directory,
        &["clone", "-q", "--bare", work.to_str().unwrap(), &bare],
    );
    git(&directory.join(bare), &["update-server-info"]);
}

/// Serves `directory` as a plain server of files does: without regard to the query.
fn serve(directory: &Path) -> String {
    let files = directory.to_owned();
    serve_answers(directory, move |name| {
        let path = name.split('?').next().unwrap();
        let answer = match fs::read(files.join(path)) {
            Ok(bytes) => [
                format!(
                    "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                    bytes.len()
                )
                .into_bytes(),
                bytes,
            ]
            .concat(),
            Err(_) => {
                b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_vec()
            }
        };
        Some(answer)
    })
}

/// Adds a derivation that checks out `commit` of `url` and should give `tree`. Its path, and that of its output.
fn add(site: &Site, url: &str, commit: &str, recursive: &str, tree: &Tree) -> (String, String) {
    let store_dir = &site.store.directories().store_dir;
    let sha256 = Sha256Digest::of(tree.to_nar().unwrap());
    let mut derivation = Derivation {
        outputs: [(
            "out".to_owned(),
            Output::fixed(FixedOutputMethod::Recursive, sha256),
        )]
        .into(),
        system: "x86_64-linux".to_owned(),
        builder: "builtin:git-download".into(),
        ..Derivation::default()
    };
    for (name, value) in [("url", url), ("commit", commit), ("recursive?", recursive)] {
        derivation.environment.insert(name, value);
    }
    let mut known = DerivationSet::default();
    let (path, derivation) = instantiate(store_dir, "checkout", derivation, &mut known).unwrap();
    let text = aterm::write(store_dir, &derivation);
    let added = site
        .store
        .add_text("checkout.drv", &text, &derivation.references());
    assert_eq!(added.unwrap(), path);
    let output = derivation.output_path("out").unwrap();
    (store_dir.display(&path), store_dir.display(output))
}

fn tree(name: &str) -> Tree {
    Tree::directory([
        ("file", Tree::file(format!("of {name}\n"))),
        ("link", Tree::symlink("/etc/passwd")),
    ])
}

#[test]
fn a_tag_is_checked_out_without_what_belongs_to_git() {
    let site = Site::new();
    let files = tempfile::tempdir().unwrap();
    repository(files.path(), "plain", None);
    let url = format!("\"{}/plain.git\"", serve(files.path()));
    let (drv, output) = add(&site, &url, "v1", "#f", &tree("plain"));
    let (paths, _) = expect(&site, 0, &["build", &drv]);
    assert_eq!(paths, format!("{output}\n"));
    let place = site.root.join(&output[1..]);
    let found = place.join("file").metadata().unwrap();
    assert_eq!((found.mode() & 0o7777, found.mtime()), (0o444, 1));
    assert!(place.join("link").symlink_metadata().unwrap().is_symlink());
    assert!(!place.join(".git").exists());
    // Another hash than that of the files.
    let (drv, output) = add(&site, &url, "main", "#f", &tree("other"));
    let (_, err) = expect(&site, 3, &["build", &drv]);
    assert!(err.contains("hash"), "{err}");
    assert!(!site.root.join(&output[1..]).exists());
    let (drv, _) = add(&site, &url, "absent", "#f", &tree("absent"));
    let (_, err) = expect(&site, 4, &["build", &drv]);
    assert!(err.contains("`git checkout` failed"), "{err}");
    let (_, err) = expect(&site, 4, &["--offline", "build", &drv]);
    assert!(err.contains("--offline forbids"), "{err}");
}

#[test]
fn submodules_come_over_the_network_and_never_from_this_machine() {
    let site = Site::new();
    let files = tempfile::tempdir().unwrap();
    let url = serve(files.path());
    repository(files.path(), "module", None);
    repository(files.path(), "whole", Some("../module.git"));
    let module = files.path().join("module.git");
    let local = format!("file://{}", module.display());
    repository(files.path(), "hostile", Some(&local));
    let modules = |url: &str| format!("[submodule \"module\"]\n\tpath = module\n\turl = {url}\n");
    let with = |name: &str, url: &str, module: Tree| {
        Tree::directory([
            (".gitmodules", Tree::file(modules(url))),
            ("file", Tree::file(format!("of {name}\n"))),
            ("link", Tree::symlink("/etc/passwd")),
            ("module", module),
        ])
    };
    let later = Tree::directory([
        ("file", Tree::file(b"later\n")),
        ("link", Tree::symlink("/etc/passwd")),
    ]);
    let whole = with("whole", "../module.git", later.clone());
    let whole_url = format!("\"{url}/whole.git\"");
    let (drv, _) = add(&site, &whole_url, "v1", "#t", &whole);
    expect(&site, 0, &["build", &drv]);
    let without = with("whole", "../module.git", Tree::directory::<&str>([]));
    let (drv, _) = add(&site, &whole_url, "v1", "#f", &without);
    expect(&site, 0, &["build", &drv]);
    let hostile = with("hostile", &local, later);
    let (drv, _) = add(
        &site,
        &format!("\"{url}/hostile.git\""),
        "v1",
        "#t",
        &hostile,
    );
    let (_, err) = expect(&site, 4, &["build", &drv]);
    assert!(err.contains("`git submodule` failed"), "{err}");
    assert!(err.contains("transport 'file' not allowed"), "{err}");
}

#[test]
fn what_is_not_a_repository_on_the_network_is_refused() {
    let site = Site::new();
    let files = tempfile::tempdir().unwrap();
    repository(files.path(), "plain", None);
    let place = files.path().join("plain.git");
    let place = place.to_str().unwrap();
    let refused = |url: &str, commit: &str, expected: &str| {
        let (drv, output) = add(&site, url, commit, "#f", &tree("plain"));
        let (_, err) = expect(&site, 1, &["build", &drv]);
        assert!(err.contains(expected), "{url} {commit}: {err}");
        assert!(!site.root.join(&output[1..]).exists());
    };
    for url in [
        format!("\"{place}\""),
        format!("\"file://{place}\""),
        format!("\"ext::sh -c 'touch {place}/touched'\""),
        format!("\"ssh://localhost{place}\""),
        format!("\"localhost:{place}\""),
        format!("\"--upload-pack=touch {place}/touched\""),
    ] {
        refused(&url, "v1", "expected https://, http:// or git://");
    }
    for url in [place.to_owned(), format!("(\"{place}\")"), String::new()] {
        refused(&url, "v1", "is not a string, written as Scheme data");
    }
    let url = format!("\"{}/plain.git\"", serve(files.path()));
    for commit in ["", "-v1", "--upload-pack=touch touched", "v1:refs/heads/x"] {
        refused(&url, commit, "expected a commit's hash or a tag");
    }
    assert!(!Path::new(place).join("touched").exists());
}
