// SPDX-License-Identifier: GPL-3.0-or-later
//! Makes archives for tests, hostile ones too: headers are filled byte by byte, so that nothing refuses to write them.

use std::io::Write;

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub fn xz(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 0);
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub fn zstandard(bytes: &[u8]) -> Vec<u8> {
    // With a checksum of the content, as the zstd program adds.
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
    encoder.include_checksum(true).unwrap();
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub fn ar(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut bytes = b"!<arch>\n".to_vec();
    for (name, contents) in members {
        let size = contents.len();
        bytes.extend(
            format!(
                "{name:<16}{:<12}{:<6}{:<6}{:<8}{size:<10}`\n",
                0, 0, 0, "100644"
            )
            .bytes(),
        );
        bytes.extend(*contents);
        if size % 2 == 1 {
            bytes.push(b'\n');
        }
    }
    bytes
}

/// Writes a tar, entry by entry, without any check.
#[derive(Default)]
pub struct TarWriter {
    bytes: Vec<u8>,
}

impl TarWriter {
    pub fn header(
        &mut self,
        kind: u8,
        name: &[u8],
        link: &[u8],
        mode: u32,
        size: u64,
    ) -> &mut Self {
        let mut header = [0_u8; 512];
        header[..name.len()].copy_from_slice(name);
        header[100..107].copy_from_slice(format!("{mode:07o}").as_bytes());
        header[108..115].copy_from_slice(b"0000000");
        header[116..123].copy_from_slice(b"0000000");
        header[124..135].copy_from_slice(format!("{size:011o}").as_bytes());
        header[136..147].copy_from_slice(b"00000000000");
        header[156] = kind;
        header[157..157 + link.len()].copy_from_slice(link);
        header[257..265].copy_from_slice(b"ustar\x0000");
        header[148..156].fill(b' ');
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        self.bytes.extend(header);
        self
    }

    pub fn contents(&mut self, contents: &[u8]) -> &mut Self {
        self.bytes.extend(contents);
        let padded = self.bytes.len().next_multiple_of(512);
        self.bytes.resize(padded, 0);
        self
    }

    pub fn entry(
        &mut self,
        kind: u8,
        name: &str,
        link: &str,
        mode: u32,
        contents: &[u8],
    ) -> &mut Self {
        self.header(
            kind,
            name.as_bytes(),
            link.as_bytes(),
            mode,
            contents.len() as u64,
        )
        .contents(contents)
    }

    pub fn file(&mut self, name: &str, contents: &[u8]) -> &mut Self {
        self.entry(b'0', name, "", 0o644, contents)
    }

    pub fn program(&mut self, name: &str, contents: &[u8]) -> &mut Self {
        self.entry(b'0', name, "", 0o755, contents)
    }

    pub fn directory(&mut self, name: &str) -> &mut Self {
        self.entry(b'5', name, "", 0o755, b"")
    }

    pub fn symlink(&mut self, name: &str, target: &str) -> &mut Self {
        self.entry(b'2', name, target, 0o777, b"")
    }

    pub fn hard_link(&mut self, name: &str, target: &str) -> &mut Self {
        self.entry(b'1', name, target, 0o644, b"")
    }

    /// A pax extended header for the next entry.
    pub fn pax(&mut self, records: &[(&str, &str)]) -> &mut Self {
        let mut data = Vec::new();
        for (key, value) in records {
            // The length counts its own digits.
            let rest = key.len() + value.len() + 3;
            let mut length = rest + 1;
            while length != rest + length.to_string().len() {
                length += 1;
            }
            data.extend(format!("{length} {key}={value}\n").bytes());
        }
        self.entry(b'x', "pax", "", 0o644, &data)
    }

    /// A GNU header (`L` or `K`) that holds a long name for the next entry.
    pub fn gnu_long(&mut self, kind: u8, name: &str) -> &mut Self {
        let data = [name.as_bytes(), b"\0"].concat();
        self.entry(kind, "././@LongLink", "", 0o644, &data)
    }

    /// The tar with its end mark.
    pub fn finish(&self) -> Vec<u8> {
        let mut bytes = self.bytes.clone();
        bytes.resize(bytes.len() + 1024, 0);
        bytes
    }

    /// The tar so far, without an end mark.
    pub fn unfinished(&self) -> Vec<u8> {
        self.bytes.clone()
    }
}

/// A `.deb` whose files are `tar`.
pub fn deb(tar: &[u8]) -> Vec<u8> {
    ar(&[
        ("debian-binary", b"2.0\n"),
        (
            "control.tar.xz",
            &xz(&TarWriter::default()
                .file("./control", b"Package: x\n")
                .finish()),
        ),
        ("data.tar.xz", &xz(tar)),
    ])
}
