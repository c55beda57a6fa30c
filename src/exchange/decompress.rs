// SPDX-License-Identifier: GPL-3.0-or-later
//! Decoding archives of substitute servers, by the name of the compression in a narinfo.
//!
//! Nix's servers use xz, zstd, bzip2 and brotli, Guix's zstd, lzip and gzip. A decoder gets what the server sends, so
//! its memory is bounded: a few buffers, and a window or dictionary of at most 128 MiB.

use std::io::{self, BufRead, Read};

use liblzma::bufread::XzDecoder;
use liblzma::stream::Stream;

use crate::formats::narinfo::{NarFile, NarInfo};

/// The largest window of zstd, as a power of two.
const ZSTD_WINDOW: u32 = 27;

/// The most memory that a decoder of xz or lzip takes, in bytes: `xz -9` needs 65 MiB.
const LZMA_MEMORY: u64 = 128 << 20;

/// The size of brotli's input buffer in bytes.
const BROTLI_BUFFER: usize = 64 << 10;

/// The compressions that can be decoded, the one that is decoded fastest first. Nix leaves out the name of none.
const KNOWN: [&str; 8] = ["zstd", "none", "", "gzip", "br", "xz", "lzip", "bzip2"];

/// How much better `compression` is than others: a larger number is decoded faster; `None` where it cannot be decoded.
pub fn rank(compression: &str) -> Option<usize> {
    let place = KNOWN.iter().position(|known| *known == compression)?;
    Some(KNOWN.len() - place)
}

/// The names of the compressions that can be decoded, for messages.
pub fn known() -> String {
    KNOWN.map(|name| if name.is_empty() { "none" } else { name })[..]
        .iter()
        .filter(|name| **name != "none")
        .copied()
        .chain(["none"])
        .collect::<Vec<&str>>()
        .join(", ")
}

/// The decoded bytes of `input`, which `compression` names the format of.
///
/// # Errors
/// Where that cannot be decoded, or the decoder cannot start.
pub fn decoder<'a>(compression: &str, input: impl BufRead + 'a) -> io::Result<Box<dyn Read + 'a>> {
    Ok(match compression {
        "zstd" => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(input)?;
            decoder.window_log_max(ZSTD_WINDOW)?;
            Box::new(decoder)
        }
        "gzip" => Box::new(flate2::bufread::MultiGzDecoder::new(input)),
        "xz" => {
            let flags = liblzma::stream::CONCATENATED;
            let stream = Stream::new_stream_decoder(LZMA_MEMORY, flags)?;
            Box::new(XzDecoder::new_stream(input, stream))
        }
        "lzip" => {
            let flags = liblzma::stream::CONCATENATED;
            let stream = Stream::new_lzip_decoder(LZMA_MEMORY, flags)?;
            Box::new(XzDecoder::new_stream(input, stream))
        }
        "bzip2" => Box::new(bzip2::bufread::MultiBzDecoder::new(input)),
        "br" => {
            let input = StandardBrotli {
                inner: input,
                is_checked: false,
            };
            Box::new(brotli_decompressor::Decompressor::new(input, BROTLI_BUFFER))
        }
        "none" | "" => Box::new(input),
        _ => {
            let problem = format!("unknown compression: expected one of {}", known());
            return Err(io::Error::new(io::ErrorKind::Unsupported, problem));
        }
    })
}

/// A brotli stream, and an error where it is not one of RFC 7932: those have windows of at most 16 MiB. The decoder
/// also takes "large window" streams, for which it would allocate up to 1 GiB.
struct StandardBrotli<R> {
    inner: R,
    is_checked: bool,
}

impl<R: BufRead> Read for StandardBrotli<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if !self.is_checked {
            let first = self.inner.fill_buf()?.first();
            // RFC 7932, 9.1: these seven bits are reserved.
            if first.is_some_and(|byte| byte & 0x7f == 0x11) {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    "brotli stream with a large window: expected one of RFC 7932",
                ));
            }
            self.is_checked = true;
        }
        self.inner.read(buffer)
    }
}

/// The archive of an item that is decoded fastest; `None` where none can be decoded.
pub(super) fn best_file(info: &NarInfo) -> Option<&NarFile> {
    let rank_of = |file: &&NarFile| rank(&file.compression);
    info.files
        .iter()
        .filter(|file| rank_of(file).is_some())
        .max_by_key(rank_of)
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::process::{Command, Stdio};

    use super::*;

    const TEXT: &[u8] = b"an archive, an archive, an archive";

    /// What `program` makes of the text.
    fn made_by(program: &str, arguments: &[&str]) -> Vec<u8> {
        let mut child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(TEXT).unwrap();
        child.wait_with_output().unwrap().stdout
    }

    /// What brotli makes of the text: one block that is not compressed, and the last, empty one (RFC 7932, section 9).
    fn brotli() -> Vec<u8> {
        // WBITS 16: 0; ISLAST 0; MNIBBLES 4: 00; MLEN - 1 in 16 bits; ISUNCOMPRESSED 1.
        let bits = (TEXT.len() as u32 - 1) << 4 | 1 << 20;
        let mut bytes = bits.to_le_bytes()[..3].to_vec();
        bytes.extend(TEXT);
        bytes.push(3);
        bytes
    }

    fn decoded(compression: &str, bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut text = Vec::new();
        decoder(compression, bytes)?.read_to_end(&mut text)?;
        Ok(text)
    }

    /// The text in each format.
    fn samples() -> Vec<(&'static str, Vec<u8>)> {
        vec![
            ("zstd", zstd::bulk::compress(TEXT, 3).unwrap()),
            ("gzip", made_by("gzip", &["-c"])),
            ("xz", made_by("xz", &["-c"])),
            ("bzip2", made_by("bzip2", &["-c"])),
            ("br", brotli()),
            ("lzip", LZIP.to_vec()),
            ("none", TEXT.to_vec()),
            ("", TEXT.to_vec()),
        ]
    }

    /// The text in lzip's format: header, LZMA with an end marker, CRC-32, sizes.
    const LZIP: &[u8] = b"\x4c\x5a\x49\x50\x01\x0c\x00\x30\x9b\x80\x05\x12\x63\x75\x43\xde\x80\xc4\xd8\xaa\x33\x08\xf7\x3e\x65\
        \xdf\xff\xfe\x51\xa0\x00\x5a\x83\x49\x6b\x22\x00\x00\x00\x00\x00\x00\x00\x33\x00\x00\x00\x00\x00\x00\
        \x00";

    #[test]
    fn every_known_compression_is_decoded() {
        for (compression, bytes) in samples() {
            assert!(rank(compression).is_some());
            assert_eq!(decoded(compression, &bytes).unwrap(), TEXT, "{compression}");
        }
        assert_eq!(samples().len(), KNOWN.len());
    }

    #[test]
    fn half_a_stream_and_noise_are_errors() {
        for (compression, bytes) in samples() {
            if !["none", ""].contains(&compression) {
                let half = &bytes[..bytes.len() - 4];
                assert!(decoded(compression, half).is_err(), "{compression}");
                let noise = b"<html>a page of the network, which wants a password first</html>";
                assert!(decoded(compression, noise).is_err(), "{compression}");
            }
        }
        let error = decoded("rot13", TEXT).unwrap_err().to_string();
        assert!(
            error.contains("zstd, gzip, br, xz, lzip, bzip2, none"),
            "{error}"
        );
        assert_eq!(rank("rot13"), None);
    }

    #[test]
    fn a_brotli_stream_cannot_ask_for_a_large_window() {
        // As in `brotli`, but after 0x11 with a window of 2^30 bytes in 6 bits.
        let bits: u64 = 0x11 | 30 << 8 | (TEXT.len() as u64 - 1) << 17 | 1 << 33;
        let mut bytes = bits.to_le_bytes()[..5].to_vec();
        bytes.extend(TEXT);
        bytes.push(3);
        let error = decoded("br", &bytes).unwrap_err().to_string();
        assert!(error.contains("a large window"), "{error}");
    }

    #[test]
    fn what_is_decoded_fast_is_better() {
        assert!(rank("zstd") > rank("none") && rank("none") > rank("gzip"));
        assert!(rank("gzip") > rank("xz") && rank("xz") > rank("bzip2"));
    }
}
