"""Tests of medleak.custom.identity.values: which names hold which texts."""

import pytest

from medleak.custom.identity.values import Value, matches


def held(text, kind, name, own=True):
    return matches(Value(text, kind, "somewhere"), name, own=own)


@pytest.mark.parametrize(
    ("person", "name"),
    [
        ("Doe^Jane", "Doe"),
        ("Doe^Jane", "DOE_JANE_1970"),
        ("Doe^Jane", "jane doe"),
        ("Doe^Jane", "janedoe"),
        ("Doe^Jane", "study of doe"),
        ("Doe^Jane", "jdoe"),
        ("Doe^Jane", "doe_j"),
        ("Doe^Jane^Quincy^Dr^Jr", "jane-quincy"),
        ("Doe, Jane", "jane doe"),
        ("Dr. Jane Doe", "jane doe"),
        ("Müller^Jürgen", "mueller_juergen"),
        ("Müller^Jürgen", "MULLER JURGEN"),
        ("MUELLER^JUERGEN", "müller"),
        ("Muller^Jurgen", "Mueller"),
        ("Dvořák^Antonín", "dvorak"),
        ("Ångström^Anders", "angstrom"),
        ("Sørensen^Åse", "sorensen"),
        ("Yamada^Tarou=山田^太郎=やまだ^たろう", "yamada_tarou"),
        ("Yamada^Tarou=山田^太郎=やまだ^たろう", "山田太郎"),
        ("Yamada^Tarou=山田^太郎=やまだ^たろう", "山田"),
        ("\uff24\uff2f\uff25^Jane", "doe jane"),
        ("van der Berg^Jan", "jan-van-der-berg"),
        ("Mustermann^Erika", "mustermannstudy"),
        ("Mustermann^Erika", "Erika"),
    ],
)
def test_a_person_is_found_in_any_order_spelling_and_script(person, name):
    assert held(person, "person", name)


@pytest.mark.parametrize(
    ("person", "name"),
    [
        ("Doe^Jane", "doerr"),
        ("Doe^Jane", "normal"),
        ("NORMAL^001", "normal"),
        ("Normal^Anna", "normal"),
        ("COVID^Patient", "covid"),
        ("Li^Na", "benign"),
        ("X^Y", "x"),
        ("Grade^3", "grade_3"),
        ("", "normal"),
        ("^^^^", "normal"),
        ("LUNG1-001", "lung1"),
    ],
)
def test_a_class_is_no_person(person, name):
    assert not held(person, "person", name)


def test_one_word_of_a_name_counts_where_the_patients_files_are_and_two_everywhere():
    assert held("Doe^Jane", "person", "doe", own=True)
    assert not held("Doe^Jane", "person", "doe", own=False)
    assert held("Doe^Jane", "person", "jane_doe", own=False)


@pytest.mark.parametrize(
    ("identifier", "name"),
    [
        ("MRN-4711", "MRN-4711"),
        ("MRN-4711", "mrn4711"),
        ("MRN-4711", "study of mrn 4711"),
        ("A20230815", "a20230815"),
        ("A20230815", "20230815"),
        ("000123456", "123456"),
        ("0815", "815"),
        ("100", "100"),
        ("1.2.826.0.1.3680043.8.498.42", "1.2.826.0.1.3680043.8.498.42"),
        ("1.2.826.0.1.3680043.8.498.42", "12826013680043849842"),
        ("1.2.826.0.1.3680043.8.498.42", "3680043.8.498.42"),
        ("INS-7788123", "ins7788123x"),
        ("Sankt-Marien-Hospital", "sankt marien hospital"),
        ("Charité", "charite"),
        ("Doe^Jane", "jane_doe"),
    ],
)
def test_an_identifier_is_found_in_any_writing(identifier, name):
    assert held(identifier, "identifier", name)


@pytest.mark.parametrize(
    ("identifier", "name"),
    [
        ("MRN-0815", "MRN-08"),
        ("normal-001", "normal"),
        ("1", "1"),
        ("12", "class_12"),
        ("M", "m"),
        ("CT", "ct"),
        ("COVID-19", "covid19"),
        ("CHEST", "chest"),
        ("Viral Pneumonia", "viral pneumonia"),
        ("12345", "normal"),
        ("A1", "class A1"),
    ],
)
def test_what_is_short_or_common_is_no_identifier(identifier, name):
    assert not held(identifier, "identifier", name)


def test_an_identifier_without_a_digit_counts_for_its_own_folder_alone():
    assert held("Charité", "identifier", "charite", own=True)
    assert not held("Charité", "identifier", "charite", own=False)


@pytest.mark.parametrize(
    "name",
    [
        *("19500612", "1950-06-12", "12.06.1950", "06/12/1950", "12061950", "500612", "120650"),
        *("12Jun1950", "June 12 1950", "born_1950_6_12", "12-6-50"),
    ],
)
def test_a_date_is_found_in_any_writing(name):
    assert held("19500612", "moment", name, own=False)
    assert held("19500612101112.0000+0100", "moment", name, own=False)
    assert not held("19500613", "moment", name, own=False)


@pytest.mark.parametrize("name", ["normal", "1950", "grade_3", "covid19", "t2 flair"])
def test_a_class_is_no_date(name):
    assert not held("19500612", "moment", name)
    assert not held("101112", "moment", name)


def test_a_time_is_its_six_digits():
    assert held("101112.5", "moment", "at 101112")


@pytest.mark.parametrize(
    ("text", "name", "found"),
    [
        ("COVID chest, follow-up", "covid", False),
        ("pneumonia", "pneumonia", False),
        ("BI-RADS 4", "birads4", False),
        ("Cardiomegaly", "cardiomegaly", False),
        ("see order 20231234", "20231234", True),
        ("order ACC-99812", "acc99812", True),
        ("born 12.06.1950 in Bonn", "19500612", True),
        ("Main Street 5, Springfield", "main street 5 springfield", True),
        ("study of A20230815 and more", "20230815", True),
    ],
)
def test_of_prose_numbers_count_and_the_whole(text, name, found):
    assert held(text, "prose", name) is found


@pytest.mark.parametrize(
    ("text", "name", "found"),
    [
        ("Mustermann, Erika", "mustermann", True),
        ("Patient: Mustermann^Erika, MRN0815", "mrn0815", True),
        ("Patient: Mustermann^Erika", "erika_mustermann", True),
        ("chest x-ray, normal", "normal", False),
        ("viral pneumonia", "viral pneumonia", False),
        ("covid-19 2021", "covid19", False),
        ("Adobe Photoshop", "benign", False),
    ],
)
def test_of_a_comment_words_count_too_but_those_of_classes(text, name, found):
    assert held(text, "free", name) is found
