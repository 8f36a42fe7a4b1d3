//! What a Parquet file says of itself, against what its bytes can hold: the library beneath believes it.

use crate::grammar::{FOOTER, PAGE_HEAD};
use crate::thrift::{INTEGER, LIST, STRUCTURE, Walk};
use parquet::basic::Type;
use parquet::file::metadata::{ParquetMetaData, RowGroupMetaData};

/// So many values per column are decoded from any file: long runs of one value take hardly a byte.
const VALUES: usize = 1 << 20;
/// And so many more for each of its bytes.
const VALUES_PER_BYTE: usize = 64;
/// A page may be so long, and so many times longer than it is packed.
const PAGE: usize = 1 << 26;
const PACKING: usize = 1024;
/// Groups within groups of columns, at most.
const DEPTH: usize = 32;

/// Why a file is refused.
pub(crate) type Claim<T> = Result<T, String>;

/// Refuses a footer whose lists are longer than it is, or whose columns' tree is none.
pub(crate) fn check_footer(bytes: &[u8]) -> Claim<()> {
    let footer = footer(bytes).ok_or("it has no footer")?;
    Walk::new(footer).structure(FOOTER).ok_or("a field of its footer is not what it should be")?;
    let mut children = Vec::new();
    let walked = Walk::new(footer).fields(|walk, field, kind| match (field, kind) {
        (2, LIST) => {
            let (count, kind) = walk.list()?;
            (kind == STRUCTURE).then_some(())?;
            for _ in 0..count {
                let mut own = 0;
                walk.fields(|walk, field, kind| match field {
                    5 if INTEGER.contains(&kind) => walk.integer().map(|count| own = count),
                    _ => walk.skip(kind),
                })?;
                children.push(usize::try_from(own).ok()?);
            }
            Some(())
        }
        _ => walk.skip(kind),
    });
    walked.ok_or("its footer announces more than it holds")?;
    is_tree(&children).then_some(()).ok_or_else(|| "its columns are no tree".into())
}

fn footer(bytes: &[u8]) -> Option<&[u8]> {
    let (before, end) = bytes.split_at_checked(bytes.len().checked_sub(8)?)?;
    let length = u32::from_le_bytes(end[..4].try_into().ok()?);
    (&end[4..] == b"PAR1").then_some(())?;
    before.get(before.len().checked_sub(length as usize)?..)
}

/// Whether nodes with so many children each, parents first, are a tree that is not too deep.
fn is_tree(children: &[usize]) -> bool {
    let mut missing = Vec::new();
    for (place, &own) in children.iter().enumerate() {
        while missing.last() == Some(&0) {
            missing.pop();
        }
        match missing.last_mut() {
            Some(last) => *last -= 1,
            // A second root.
            None if place > 0 => return false,
            None => {}
        }
        missing.push(own);
        if missing.len() > DEPTH || own > children.len() {
            return false;
        }
    }
    missing.iter().all(|&missing| missing == 0)
}

/// What a page says of itself.
#[derive(Debug, Default)]
struct Page {
    unpacked: i64,
    packed: i64,
    values: i64,
    is_dictionary: bool,
}

/// Refuses pages that say they hold more than their bytes can.
pub(crate) fn check_pages(bytes: &[u8], metadata: &ParquetMetaData) -> Claim<()> {
    let most = VALUES + VALUES_PER_BYTE * bytes.len();
    for column in metadata.row_groups().iter().flat_map(RowGroupMetaData::columns) {
        let start = column.dictionary_page_offset().unwrap_or_else(|| column.data_page_offset());
        let range = [start, column.compressed_size()].map(usize::try_from);
        let [Ok(start), Ok(length)] = range else { return Err("a column has a place below 0".into()) };
        let end = start.checked_add(length).filter(|end| *end <= bytes.len());
        let mut rest = &bytes[start.min(bytes.len())..end.ok_or("a column ends behind the file")?];
        let mut values = 0_usize;
        while !rest.is_empty() {
            let (page, behind) = page(rest).ok_or("a page announces more than it holds")?;
            let sizes = [page.unpacked, page.packed, page.values].map(usize::try_from);
            let [Ok(unpacked), Ok(packed), Ok(own)] = sizes else { return Err("a page has a size below 0".into()) };
            rest = behind.get(packed..).ok_or("a page is longer than its column")?;
            if unpacked > PAGE + PACKING * packed {
                return Err(format!("a page of {packed} bytes cannot become {unpacked}"));
            }
            if page.is_dictionary && own.saturating_mul(least_bytes(column.column_type())) > unpacked {
                return Err(format!("a dictionary of {unpacked} bytes cannot have {own} values"));
            }
            values = values.saturating_add(own);
        }
        if values > most {
            return Err(format!("{} bytes are too few for {values} values", bytes.len()));
        }
    }
    Ok(())
}

/// The head of a page, and the bytes behind it.
fn page(bytes: &[u8]) -> Option<(Page, &[u8])> {
    Walk::new(bytes).structure(PAGE_HEAD)?;
    let (mut page, mut walk) = (Page::default(), Walk::new(bytes));
    walk.fields(|walk, field, kind| {
        match (field, kind) {
            (2, kind) if INTEGER.contains(&kind) => page.unpacked = walk.integer()?,
            (3, kind) if INTEGER.contains(&kind) => page.packed = walk.integer()?,
            // Of data, of a dictionary, of data in the second version; the first field counts the values.
            (5 | 7 | 8, STRUCTURE) => {
                page.is_dictionary = field == 7;
                walk.fields(|walk, field, kind| match field {
                    1 if INTEGER.contains(&kind) => walk.integer().map(|values| page.values = values),
                    _ => walk.skip(kind),
                })?;
            }
            (_, kind) => walk.skip(kind)?,
        }
        Some(())
    })?;
    Some((page, walk.rest()))
}

/// How many bytes a value has at least, where it is written out.
fn least_bytes(kind: Type) -> usize {
    match kind {
        Type::BOOLEAN | Type::FIXED_LEN_BYTE_ARRAY => 0,
        // Texts begin with their length.
        Type::INT32 | Type::FLOAT | Type::BYTE_ARRAY => 4,
        Type::INT64 | Type::DOUBLE => 8,
        Type::INT96 => 12,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trees_are_told_from_what_is_none() {
        assert!(is_tree(&[0]) && is_tree(&[2, 0, 0]) && is_tree(&[2, 1, 0, 0]) && is_tree(&[1, 2, 0, 0]));
        assert!(!is_tree(&[1]) && !is_tree(&[0, 0]) && !is_tree(&[1, 0, 0]) && !is_tree(&[700_000_000, 0]));
        let deep: Vec<usize> = std::iter::repeat_n(1, 100).chain([0]).collect();
        assert!(!is_tree(&deep) && is_tree(&deep[80..]));
    }

    #[test]
    fn a_footer_is_where_the_file_says() {
        assert!(check_footer(b"PAR1").is_err() && check_footer(b"").is_err());
        assert!(check_footer(b"PAR1\x09\0\0\0PAR1").is_err(), "longer than the file");
        // One list of two elements, the root with one child.
        let footer = [0x29, 0x2c, 0x55, 2, 0, 0, 0];
        let file = [b"PAR1", &footer[..], &[footer.len() as u8, 0, 0, 0], b"PAR1"].concat();
        assert_eq!(check_footer(&file), Ok(()));
    }
}
